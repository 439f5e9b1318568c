"""A small evaluated run whose classes have names that no format may trip over, and its exports."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ledgers import begin
from small_runs import SMALL

from resnet.exporting import FORMATS
from resnet.exporting.export import Exported, export
from resnet.images.decoding import png
from resnet.ledger import Ledger
from resnet.model.network import ResNet, network_of
from resnet.records.shards import read_classes
from resnet.run import Machine, Run
from resnet.stages import ledger_of, run_stage
from resnet.weights.safetensors_files import write_weights

CLASSES = ("cat", "# a*b_<i>|`$x$ [l](u) : &amp;", "é finch", os.fsdecode(b"z\xe9bra"))
VALIDATION = 10  # images a class


@pytest.fixture(scope="session")
def as_trained() -> Callable[[ResNet], ResNet]:
    """as_trained(network): with statistics, scales and offsets as after training, from a fixed seed."""

    def fill(network: ResNet) -> ResNet:
        random = np.random.default_rng(1)
        for name, variable in network.named_variables().items():
            kind = name.rpartition("/")[2]
            if kind in ("scale", "variance"):
                variable.assign(random.uniform(0.5, 1.5, variable.shape).astype(np.float32))
            elif kind in ("offset", "mean"):
                variable.assign(random.normal(0, 0.3, variable.shape).astype(np.float32))
        network.classifier.kernel.assign(random.normal(0, 0.5, network.classifier.kernel.shape).astype(np.float32))
        return network

    return fill


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory, picture, as_trained) -> Ledger:
    """The ledger of a run whose evaluation is done, on weights that look trained. Not to be changed."""
    data = tmp_path_factory.mktemp("data")
    for number, name in enumerate(CLASSES):
        for split, count in (("train", 2), ("val", VALIDATION)):
            (data / split / name).mkdir(parents=True)
            for k in range(count):
                (data / split / name / f"{k}.png").write_bytes(png(picture(100 * number + k, 40 + k, 50 - k)))
    overrides = [*SMALL, "training.batch_size=40", "training.replica_batch_size=40"]
    artifacts = tmp_path_factory.mktemp("exporting") / "artifacts"
    run = Run.of("imagefolder", overrides, name="small", artifacts=artifacts, data=data, machine=Machine(workers=1))
    ledger = ledger_of(run)
    run_stage("convert", run)
    classes = read_classes(run.records)
    network = as_trained(network_of(run.recipe, len(classes)))
    for stage in ("train", "batchnorm"):
        attempt = begin(ledger, stage)
        attempt.finish([write_weights(attempt.folder / "weights.safetensors", network, classes)])
    run_stage("evaluate", run)
    return ledger


@pytest.fixture
def evaluated_copy(evaluated, tmp_path) -> Ledger:
    """The same, free to change."""
    return copied(evaluated, tmp_path / "artifacts")


def copied(ledger: Ledger, artifacts: Path) -> Ledger:
    """The ledger of a copy of a run."""
    shutil.copytree(ledger.run.artifacts, artifacts)
    return ledger_of(Run.of(name="small", artifacts=artifacts, machine=Machine(workers=1)))


@pytest.fixture(scope="session")
def exported(evaluated, tmp_path_factory) -> dict[str, Exported]:
    """The run's export in each format, by the format's name. Not to be changed."""
    ledger = copied(evaluated, tmp_path_factory.mktemp("exported") / "artifacts")
    return {name: export(ledger, format) for name, format in FORMATS.items()}


@pytest.fixture(scope="session")
def images() -> Callable[[int], np.ndarray]:
    """images(3): noise as the network sees images, uint8 [3, 16, 16, 3]."""
    return lambda count: np.random.default_rng(2).integers(0, 256, (count, 16, 16, 3), np.uint8)


def files_in(folder: Path) -> dict[str, bytes]:
    """The content of every file below a folder, by its path, locks left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }

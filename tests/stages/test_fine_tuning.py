"""A training that starts from trained weights: what it takes, what stays frozen, and how it resumes."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_runs import SMALL

from resnet.errors import UserError
from resnet.ledger import Attempt
from resnet.model.network import ResNet
from resnet.run import Run
from resnet.stages import ledger_of, run_stage
from resnet.weights.safetensors_files import write_weights
from resnet.weights.tensor_files import read_tensors

FROZEN = ("stem", "stage1")
PLAIN = tuple(setting for setting in SMALL if not setting.startswith("records."))  # `converted` has its own
# The learning rate of a step is the same in a shorter training.
STEADY = ("training.schedule=drops", "training.average=0.0", "training.learning_rate=0.01")
TUNING = (*PLAIN, *STEADY, 'training.freeze=["stem", "stage1"]', "training.checkpoint_steps=1")
Tensors = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def run_in(photographs, run_on) -> Callable[..., Run]:
    """run_in(artifacts, "training.start_from=source"): a run on the photographs, of the name `tuned`."""

    def make(artifacts: Path, *overrides: str, settings: tuple[str, ...] = TUNING, name: str = "tuned") -> Run:
        small = run_on(photographs, artifacts, *settings, *overrides)
        return Run(name, small.recipe, small.recipe_name, small.artifacts, small.data, small.machine)

    return make


@pytest.fixture(scope="module")
def artifacts(converted, run_in, tmp_path_factory) -> Path:
    """Records, and a run `source` whose weights, for other classes, are finished. Not to be changed."""
    folder = tmp_path_factory.mktemp("tuning") / "artifacts"
    shutil.copytree(converted.artifacts, folder)
    ledger = ledger_of(run_in(folder, settings=PLAIN, name="source"))
    network, random = ResNet(8, 2, seed=3), np.random.default_rng(0)
    for norm in network.norms:
        norm.mean.assign(random.normal(0, 0.1, norm.mean.shape))
        norm.variance.assign(random.uniform(0.5, 1.5, norm.variance.shape))
    for stage in ("train", "batchnorm"):
        attempt = Attempt(ledger, stage)
        attempt.begin()
        attempt.finish(
            [write_weights(attempt.folder / "weights.safetensors", network, [("car", "car"), ("bus", "bus")])]
        )
    return folder


@pytest.fixture(scope="module")
def tuned(artifacts, run_in) -> tuple[Run, str]:
    """A run that has started from run `source`, with averaged statistics, and what it said."""
    run = run_in(artifacts, "training.start_from=source")
    return run, said_while(lambda: [run_stage(stage, run) for stage in ("train", "batchnorm")])


def said_while(work: Callable[[], object]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        work()
    return said.getvalue()


def weights(run: Run, stage: str) -> Tensors:
    return read_tensors(run.stage_folder(stage) / "weights.safetensors")[0]


def source_weights(artifacts: Path) -> Tensors:
    return read_tensors(artifacts / "runs/source/batchnorm/weights.safetensors")[0]


def same_bits(a: Tensors, b: Tensors) -> set[str]:
    """The names of the tensors that are the same bit for bit."""
    return {name for name in a if a[name].tobytes() == b[name].tobytes()}


@pytest.mark.parametrize("stage", ["train", "batchnorm"])
def test_frozen_layers_end_with_the_weights_and_statistics_that_they_started_with(tuned, artifacts, stage):
    before, after = source_weights(artifacts), weights(tuned[0], stage)
    assert same_bits(before, after) == {name for name in before if name.startswith(FROZEN)}


def test_it_says_in_short_lines_what_it_takes_and_what_is_new_and_frozen(tuned):
    lines = tuned[1].splitlines()
    assert lines[2:8] == [
        "train: learning rate 0.01",
        "train: frozen: stem, stage1",
        "train: training ends before the learning rate drops after epochs 30, 60 and 90",
        "train: starting from run source (this project)",
        "train: taken: stem, stage1, stage2, stage3",
        "train: classifier: new, for 3 classes instead of 2",
    ]
    assert max(map(len, lines)) <= 80


def test_stage_json_records_what_was_taken(tuned, artifacts):
    record = ledger_of(tuned[0]).finished("train")
    digest = ledger_of(tuned[0]).starting_point.digest()
    assert record["inputs"]["start_from"] == digest
    assert record["started_from"] == {
        "run": "source",
        "sha256": digest,
        "layout": "this project",
        "taken": ["stem", "stage1", "stage2", "stage3"],
        "new": ["classifier"],
    }


def test_an_interrupted_fine_tuning_ends_with_the_same_bits_although_its_source_is_gone(tuned, run_in, tmp_path):
    shutil.copytree(tuned[0].artifacts, tmp_path / "artifacts")
    again = run_in(tmp_path / "artifacts", "training.start_from=source")
    folder = again.stage_folder("train")
    facts = ledger_of(again).finished("train")["started_from"]
    shutil.rmtree(again.folder.with_name("source"))
    for name in ("stage.json", "weights.safetensors", "checkpoints/step-00000004.safetensors"):
        (folder / name).unlink()
    said = said_while(lambda: run_stage("train", again))
    assert "train: resuming from step 3" in said
    assert "starting from" not in said
    expected, found = weights(tuned[0], "train"), weights(again, "train")
    assert same_bits(expected, found) == set(expected)
    assert ledger_of(again).finished("train")["started_from"] == facts


def test_without_a_checkpoint_it_starts_again_and_the_missing_source_is_named(tuned, run_in, tmp_path):
    shutil.copytree(tuned[0].artifacts, tmp_path / "artifacts")
    again = run_in(tmp_path / "artifacts", "training.start_from=source")
    shutil.rmtree(again.folder.with_name("source"))
    for name in ("stage.json", "weights.safetensors"):
        (again.stage_folder("train") / name).unlink()
    shutil.rmtree(again.stage_folder("train") / "checkpoints")
    with pytest.raises(UserError, match=r"runs/source/batchnorm/weights\.safetensors"):
        run_stage("train", again)


def test_two_devices_start_from_a_file_with_the_same_weights(tuned, artifacts, photographs, tmp_path):
    """Through the command, from the folder of the file, for half as many steps."""
    shutil.copytree(tuned[0].records, tmp_path / "records" / tuned[0].records_name)
    shutil.copy(artifacts / "runs/source/batchnorm/weights.safetensors", tmp_path / "mine.safetensors")
    overrides = [f"--override={setting}" for setting in ("records.train_shards=3", "records.validation_shards=2")]
    overrides += [f"--override={setting}" for setting in (*TUNING, "training.epochs=1")]
    command = [sys.executable, "-m", "resnet", "train", "--recipe=imagefolder", f"--data={photographs}", "--run=two"]
    done = subprocess.run(
        [*command, *overrides, "--artifacts=.", "--override=training.start_from=mine.safetensors", "--cpu-devices=2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    two = Run.of(name="two", artifacts=tmp_path)
    assert ledger_of(two).finished("train")["started_from"]["file"] == str(tmp_path / "mine.safetensors")
    before, found = source_weights(artifacts), weights(two, "train")
    assert same_bits(before, found) == {name for name in before if name.startswith(FROZEN)}
    one = read_tensors(tuned[0].stage_folder("train") / "checkpoints/step-00000002.safetensors")[0]
    for name in found:
        np.testing.assert_allclose(found[name], one[f"weights/{name}"], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("change", ["another byte", "another network"])
def test_a_source_that_cannot_be_used_stops_training_before_the_first_step(artifacts, run_in, tmp_path, change):
    shutil.copytree(artifacts, tmp_path / "artifacts")
    run = run_in(tmp_path / "artifacts", "training.start_from=source", name="other")
    path = run.folder.with_name("source") / "batchnorm" / "weights.safetensors"
    if change == "another byte":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    else:
        run = run_in(tmp_path / "artifacts", "training.start_from=source", "model.depth=32", name="other")
    with pytest.raises(UserError, match="is not a complete" if change == "another byte" else r"model\.depth"):
        run_stage("train", run)
    assert list((run.stage_folder("train") / "checkpoints").iterdir()) == []
    assert not json.loads((run.stage_folder("train") / "begun.json").read_text()).get("started_from")

"""Weights from elsewhere as a run: all of it or nothing, and only where it fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from resnet.__main__ import main
from resnet.errors import UserError
from resnet.importing import import_weights, usual_recipe
from resnet.model.network import ResNet
from resnet.run import Run
from resnet.stages import ledger_of
from resnet.weights.safetensors_files import write_weights
from resnet.weights.sources import read_source
from resnet.weights.tensor_files import read_tensors

CLASSES = [("0", "zero"), ("1", "one")]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A file of a ResNet-20 for two classes."""
    path = tmp_path_factory.mktemp("weights") / "resnet20.safetensors"
    return write_weights(path, ResNet(20, 2, normalization="torch", seed=7), CLASSES)


@pytest.fixture
def run_with(tmp_path):
    """run_with("model.depth=32"): a run of the digits recipe with the normalisation of torchvision."""

    def make(*overrides: str, **options) -> Run:
        settings = ["model.normalization=torch", "dataset.classes=2", *overrides]
        return Run.of("digits", settings, artifacts=tmp_path / "artifacts", **options)

    return make


def test_train_and_batchnorm_are_finished_with_these_weights_and_say_where_they_come_from(weights, run_with):
    run, source = run_with(), read_source(weights)
    assert import_weights(source, run)
    for stage in ("train", "batchnorm"):
        tensors, facts = read_tensors(run.stage_folder(stage) / "weights.safetensors")
        assert tensors.keys() == source.tensors.keys()
        assert all(np.array_equal(tensors[name], source.tensors[name]) for name in tensors)
        assert facts["classes"] == [list(names) for names in CLASSES]
        record = ledger_of(run).finished(stage)
        assert record["imported"] == {"file": str(weights), "sha256": source.sha256}
        assert ledger_of(run).why_itself_incomplete(stage) == ""
    assert not import_weights(source, run)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.depth=32"], "model.depth must be 20, but is 32"),
        (["model.normalization=unit"], "model.normalization must be torch, but is unit"),
        (["dataset.classes=10"], "has 2 classes, and recipe digits is for 10"),
    ],
)
def test_weights_that_do_not_fit_the_recipe_leave_nothing_behind(weights, run_with, overrides, message):
    run = run_with(*overrides)
    with pytest.raises(UserError, match=message):
        import_weights(read_source(weights), run)
    assert not run.artifacts.exists()


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("0\tzero\n1\tone\n2\ttwo\n", "has 2 classes, and the records in .* have 3"),
        ("1\tone\n0\tzero\n", "names other classes than the records"),
    ],
)
def test_weights_for_other_classes_than_the_records_are_refused(weights, run_with, classes, message):
    run = run_with()
    run.records.mkdir(parents=True)
    (run.records / "classes.txt").write_text(classes)
    with pytest.raises(UserError, match=message):
        import_weights(read_source(weights), run)
    assert not run.folder.exists()


def test_a_layout_has_its_usual_recipe_and_our_own_files_have_none(weights):
    source = read_source(weights)
    assert usual_recipe(source) == ""
    assert usual_recipe(source._replace(layout="Keras", settings={"depth": 101})) == "keras-resnet101"
    torch = source._replace(layout="torchvision or timm", settings={"depth": 34})
    assert usual_recipe(torch) == "torchvision-resnet34-v1"


def test_our_own_files_go_to_no_run_that_was_not_named(weights, run_with, capsys):
    run = run_with()
    run.store()
    command = ["import-weights", str(weights), "--artifacts", str(run.artifacts)]
    assert main(command) == 1
    assert "give the recipe that" in capsys.readouterr().err
    assert main([*command, "--run", run.name]) == 0
    assert f"Report --local-scheduler --run digits --artifacts {run.artifacts} --data" in capsys.readouterr().out


def test_an_import_is_on_the_page_of_all_runs_and_one_that_fails_makes_no_folder(weights, run_with):
    run = run_with()
    run.store()
    command = ["import-weights", str(weights), "--artifacts", str(run.artifacts), "--run", run.name]
    assert main(command) == 0
    assert "weights from elsewhere" in (run.artifacts / "index.html").read_text()
    elsewhere = run.artifacts / "elsewhere"
    assert main(["import-weights", str(weights), "--artifacts", str(elsewhere), "--recipe", "digits"]) == 1
    assert not elsewhere.exists()

"""The evaluate stage, on weights that training has not touched."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tracemalloc

import numpy as np
import pytest
from scipy.special import softmax

from resnet.evaluation.statistics_curve import points
from resnet.evaluation.views import Seen, evaluate_view
from resnet.hosts.meeting import Alone
from resnet.inference import answers_of, scores
from resnet.ledger import Attempt, Ledger
from resnet.model.network import network_of
from resnet.predictions_file import read_predictions
from resnet.records.shards import ShardedRecords
from resnet.run import Machine, Run
from resnet.stages import ledger_of, run_stage
from resnet.stages.evaluate import print_result, print_statistics
from resnet.training.validation import Validation
from resnet.weights.safetensors_files import write_weights

DIGITS = list("0123456789")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory) -> Ledger:
    """A digits run whose evaluation is done; training only wrote initial weights."""
    overrides = ["model.depth=8", "model.image_size=16", "evaluation.shorter_side=20", "training.batch_size=20"]
    overrides += ["training.replica_batch_size=20", "batchnorm.batches=3", "evaluation.statistics_curve=true"]
    overrides.append('evaluation.views=["1-crop", "10-crop"]')
    artifacts = tmp_path_factory.mktemp("artifacts")
    ledger = ledger_of(Run.of("digits", overrides, artifacts=artifacts, machine=Machine(workers=1)))
    run_stage("convert", ledger.run)
    attempt = Attempt(ledger, "train")
    attempt.begin()
    attempt.finish([write_weights(attempt.folder / "weights.safetensors", network_of(ledger.run.recipe, 10))])
    run_stage("batchnorm", ledger.run)
    run_stage("evaluate", ledger.run)
    return ledger


def test_every_validation_image_is_evaluated_once(ledger):
    predictions = read_predictions(ledger.run.stage_folder("evaluate") / "predictions.csv", DIGITS)
    images = ledger.finished("convert")["images"]["validation"]
    assert len(predictions) == predictions["file"].nunique() == images == 359


def test_the_metrics_are_those_of_the_predictions_and_stand_under_the_recipes_view(ledger):
    folder = ledger.run.stage_folder("evaluate")
    predictions = read_predictions(folder / "predictions.csv", DIGITS)
    metrics = json.loads((folder / "metrics.json").read_text())
    view = metrics["views"][ledger.run.recipe.evaluation.views[0]]
    assert view["top1_error"] == pytest.approx(100 * (predictions["label"] != predictions["class1"]).mean())
    places = np.stack([predictions[f"class{place}"] == predictions["label"] for place in range(1, 6)])
    assert view["top5_error"] == pytest.approx(100 * (1 - places.any(0).mean()))
    assert ledger.finished("evaluate")["metrics"] == metrics


def test_probabilities_fall_from_place_to_place_and_add_up_to_one_at_most(ledger):
    predictions = read_predictions(ledger.run.stage_folder("evaluate") / "predictions.csv", DIGITS)
    probabilities = np.stack([predictions[f"probability{place}"] for place in range(1, 6)])
    assert (np.diff(probabilities, axis=0) <= 0).all()
    assert (probabilities.sum(0) <= 1 + 1e-5).all()


def test_each_view_has_its_own_predictions_of_the_same_images(ledger):
    folder = ledger.run.stage_folder("evaluate")
    centre, ten = (read_predictions(folder / f"predictions{view}.csv", DIGITS) for view in ("", "-10-crop"))
    assert centre[["file", "label"]].equals(ten[["file", "label"]])
    assert not centre["probability1"].equals(ten["probability1"])
    views = ledger.finished("evaluate")["metrics"]["views"]
    assert list(views) == ["1-crop", "10-crop"]
    assert views["10-crop"]["top1_error"] == pytest.approx(100 * (ten["label"] != ten["class1"]).mean())


def test_the_logits_are_those_of_the_predictions_of_the_first_view(ledger):
    folder = ledger.run.stage_folder("evaluate")
    logits = np.load(folder / "logits.npy", mmap_mode="r", allow_pickle=False)
    assert (logits.dtype, logits.shape) == (np.float32, (359, 10))
    probabilities = softmax(logits.astype(np.float64), 1)
    predictions = read_predictions(folder / "predictions.csv", DIGITS)
    np.testing.assert_allclose(probabilities.max(1), predictions["probability1"], atol=6e-7)
    assert [DIGITS[label] for label in probabilities.argmax(1)] == predictions["class1"].tolist()


def test_logits_that_would_be_too_large_are_not_kept(ledger):
    overrides = ["evaluation.logits_megabytes=0", 'evaluation.views=["1-crop"]', "evaluation.statistics_curve=false"]
    run = Run.of("", overrides, name="digits", artifacts=ledger.run.artifacts, machine=Machine(workers=1))
    shutil.copytree(ledger.run.folder, copy := ledger.run.folder.with_name("copy"))
    run_stage("evaluate", dataclasses.replace(run, name="copy"))
    assert (copy / "evaluate" / "predictions.csv").is_file()
    assert not (copy / "evaluate" / "logits.npy").exists()


def test_the_curve_of_statistics_passes_through_the_evaluation_itself(ledger):
    metrics = ledger.finished("evaluate")["metrics"]
    curve = {point["batches"]: point for point in metrics["statistics"]}
    assert list(curve) == [0, 1, 3, 5, 25, 71]  # 1,438 images are 71 batches of 20
    scores = ("loss", "top1_error", "top1_error_interval")
    own = {name: metrics["views"]["1-crop"][name] for name in scores}
    assert curve[3] == {"batches": 3, "gained": 0, "lost": 0} | own
    for point in curve.values():
        assert 3.59 * (point["top1_error"] - own["top1_error"]) == pytest.approx(point["lost"] - point["gained"])
    losses = [point["loss"] for point in curve.values()]
    assert len(set(losses)) == len(losses)


def test_the_curve_has_as_many_batches_as_an_epoch_up_to_a_thousand():
    recipe = Run.of("digits").recipe
    assert points(recipe, 64 * 5000) == [1, 5, 25, 100, 1000]
    assert points(recipe, 64 * 22 + 63) == [1, 5, 22, 25]
    assert points(recipe, 10) == [1, 25]


def test_imported_statistics_are_not_said_to_be_trainings(ledger, capsys):
    curve = ledger.finished("evaluate")["metrics"]["statistics"][:2]
    for is_imported, name in ((False, "training's moving averages"), (True, "the imported statistics")):
        print_statistics(curve, is_imported)
        stored, averaged = capsys.readouterr().out.splitlines()
        assert stored.startswith(f"evaluate: with {name}: top-1 error ")
        assert averaged.startswith("evaluate: with statistics averaged over 1 batch: top-1 error ")


@pytest.mark.parametrize("known", [True, False])
def test_answers_in_another_order_of_the_classes_are_said_to_be_so(ledger, known, capsys):
    records = ShardedRecords(ledger.run.records, "validation")
    labels = records.index["label"].astype(np.int32)
    logits = np.full((len(labels), 10), 0.0, np.float32)
    if known:
        logits[np.arange(len(labels)), (labels + 1) % 10] = 1
    seen = Seen(answers_of(logits, labels), [""] * len(labels), 0)
    print_result(ledger.run, records, "1-crop", scores(seen.answers), seen)
    warning = capsys.readouterr().err
    assert ("shifted by one" in warning) == known
    assert "not better than that" in warning  # whatever their order is


class FakePredictor:
    """Logits of very many classes, for any images."""

    classes, devices = 20_000, 1

    def __call__(self, images: np.ndarray, of_all: int | None = None) -> np.ndarray:
        return np.zeros((len(images), self.classes), np.float32)


@pytest.mark.parametrize("pass_over", ["evaluation", "validation"])
def test_a_pass_over_the_images_never_holds_the_logits_of_all_of_them(ledger, pass_over, monkeypatch):
    monkeypatch.setattr("resnet.loader.batches.BLOCK", 16)
    run, records = ledger.run, ShardedRecords(ledger.run.records, "validation")
    tracemalloc.start()
    try:
        if pass_over == "evaluation":
            evaluate_view(run, records, FakePredictor())
        else:
            with Validation(run, FakePredictor(), Alone()) as validation:
                validation()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(records) * FakePredictor.classes * 4

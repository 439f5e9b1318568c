"""The evaluate stage, on weights that training has not touched."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from resnet.ledger import Attempt, Ledger
from resnet.model.network import network_of
from resnet.predictions_file import read_predictions
from resnet.records.shards import ShardedRecords
from resnet.run import Machine, Run
from resnet.stages import ledger_of, run_stage
from resnet.stages.evaluate import predict_all
from resnet.training.interruption import Interruption
from resnet.training.validation import Validation
from resnet.weights.safetensors_files import write_weights

DIGITS = list("0123456789")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory) -> Ledger:
    """A digits run whose evaluation is done; train and batchnorm only wrote initial weights."""
    overrides = ["model.image_size=16", "evaluation.shorter_side=16", "training.batch_size=20"]
    overrides.append("training.replica_batch_size=20")
    artifacts = tmp_path_factory.mktemp("artifacts")
    ledger = ledger_of(Run.of("digits", overrides, artifacts=artifacts, machine=Machine(workers=1)))
    run_stage("convert", ledger.run)
    for stage in ("train", "batchnorm"):
        attempt = Attempt(ledger, stage)
        attempt.begin()
        attempt.finish([write_weights(attempt.folder / "weights.safetensors", network_of(ledger.run.recipe, 10))])
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


class FakePredictor:
    """Logits of very many classes, for any images."""

    classes = 20_000

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return np.zeros((len(images), self.classes), np.float32)


@pytest.mark.parametrize("pass_over", ["evaluation", "validation"])
def test_a_pass_over_the_images_never_holds_the_logits_of_all_of_them(ledger, pass_over):
    run, records = ledger.run, ShardedRecords(ledger.run.records, "validation")
    tracemalloc.start()
    try:
        if pass_over == "evaluation":
            predict_all(run, records, FakePredictor())
        else:
            with Validation(run, FakePredictor(), Interruption()) as validation:
                validation()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(records) * FakePredictor.classes * 4

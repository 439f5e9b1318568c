"""Evaluate: each validation image exactly once, shorter side scaled, centre crop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet.devices import device_names, make_strategy, peak_gpu_memory
from resnet.files import atomic
from resnet.inference import Answers, Predictor, answers_of, joined, summary
from resnet.ledger import Attempt
from resnet.loader.batches import validation_batches
from resnet.model.network import network_of
from resnet.predictions_file import write_predictions
from resnet.progress import Progress
from resnet.records.shards import ShardedRecords
from resnet.report.published import agreement, expected_error, is_imagenet
from resnet.run import Run
from resnet.weights.safetensors_files import load_weights


def main(run: Run, attempt: Attempt) -> None:
    """Measure the weights with averaged statistics on the validation images."""
    attempt.begin()
    records = ShardedRecords(run.records, "validation")
    strategy = make_strategy(run.machine)
    with strategy.scope():
        network = network_of(run.recipe, len(records.classes))
    load_weights(run.stage_folder("batchnorm") / "weights.safetensors", network)
    answers, filenames = predict_all(run, records, Predictor(network, strategy))
    view = summary(answers)
    metrics = {"images": len(filenames), "views": {run.recipe.evaluation.views[0]: view}}
    outputs = write_results(attempt.folder, metrics, answers, filenames, records.classes)
    attempt.finish(outputs, gpu_memory=peak_gpu_memory(), devices=device_names(strategy), metrics=metrics)
    errors = f"top-1 error {view['top1_error']:.2f} %, top-5 error {view['top5_error']:.2f} %"
    print(f"evaluate: {errors} on {len(filenames):,} images")
    if is_imagenet(run.recipe, len(filenames), len(records.classes)):
        print_expectation(run, view)


def print_expectation(run: Run, scores: dict[str, Any]) -> None:
    """What is published for the run's recipe, and whether the result agrees with it."""
    if expected := expected_error(run.recipe_name, run.recipe):
        print(f"evaluate: published by {expected.source}: {expected.top1_error:.2f} % top-1 error")
        print(f"evaluate: this {agreement(scores, expected)} (95 % interval)")


def predict_all(run: Run, records: ShardedRecords, predictor: Predictor) -> tuple[Answers, list[str]]:
    """The network's answers to all images, and the images' file names, in the order of the records."""
    answers: list[Answers] = []
    filenames: list[str] = []
    with (
        validation_batches(run.recipe, records, run.machine.workers, filenames=True) as loader,
        Progress("evaluating", len(records), "images") as progress,
    ):
        for batch in loader:
            answers.append(answers_of(predictor(batch.images), batch.labels))
            filenames += batch.filenames
            progress.advance(len(batch.labels))
    return joined(answers), filenames


def write_results(
    folder: Path, metrics: dict[str, Any], answers: Answers, filenames: list[str], classes: Sequence[tuple[str, str]]
) -> list[Path]:
    """Write metrics.json and predictions.csv; returns their paths."""
    with atomic(folder / "metrics.json", "w") as file:
        json.dump(metrics, file, indent=1)
    table = folder / "predictions.csv"
    write_predictions(table, filenames, answers.labels, answers.likeliest, answers.probabilities, classes)
    return [folder / "metrics.json", table]

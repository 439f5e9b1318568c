"""Evaluate: each validation image exactly once, shorter side scaled, centre crop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from resnet.devices import device_names, make_strategy
from resnet.files import atomic
from resnet.inference import Predictor, summary
from resnet.ledger import Attempt
from resnet.loader.batches import validation_batches
from resnet.model.network import network_of
from resnet.predictions_file import write_predictions
from resnet.progress import Progress
from resnet.records.shards import ShardedRecords
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
    logits, labels, filenames = predict_all(run, records, Predictor(network, strategy))
    view = summary(logits, labels)
    metrics = {"images": len(labels), "views": {run.recipe.evaluation.views[0]: view}}
    outputs = [
        write_metrics(attempt.folder / "metrics.json", metrics),
        write_predictions(attempt.folder / "predictions.csv", logits, labels, filenames, records.classes),
    ]
    attempt.finish(outputs, devices=device_names(strategy), metrics=metrics)
    errors = f"top-1 error {view['top1_error']:.2f} %, top-5 error {view['top5_error']:.2f} %"
    print(f"evaluate: {errors} on {len(labels):,} images")


def predict_all(run: Run, records: ShardedRecords, predictor: Predictor) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Logits (float32 [n, classes]), labels (int32 [n]) and file names of all images, in the order of the records."""
    logits, labels, filenames = [], [], []
    with (
        validation_batches(run.recipe, records, run.machine.workers, filenames=True) as loader,
        Progress("evaluating", len(records), "images") as progress,
    ):
        for batch in loader:
            logits.append(predictor(batch.images))
            labels.append(batch.labels)
            filenames += batch.filenames
            progress.advance(len(batch.labels))
    return np.concatenate(logits), np.concatenate(labels), filenames


def write_metrics(path: Path, metrics: dict[str, Any]) -> Path:
    """Write the metrics as JSON; returns the path."""
    with atomic(path, "w") as file:
        json.dump(metrics, file, indent=1)
    return path

"""Evaluate: each validation image exactly once, shorter side scaled, centre crop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from scipy.special import log_softmax
from scipy.stats import binomtest

from resnet.artifacts import Run
from resnet.files import atomic
from resnet.loader.loader import Batch
from resnet.loader.streams import validation_images, validation_steps
from resnet.model.network import ResNet, network_of
from resnet.progress import Progress
from resnet.records.shards import ShardedRecords
from resnet.training.distribution import device_names, make_strategy, share
from resnet.weights import assign, read_tensors

VIEW = "1-crop"


def evaluate(run: Run) -> None:
    """The stage: metrics and predictions of the weights with averaged statistics."""
    folder = run.stage_folder("evaluate")
    with run.at_work("evaluate") as begun:
        if begun is None:
            return
        records = ShardedRecords(run.records, "validation")
        strategy = make_strategy(run.machine)
        with strategy.scope():
            network = network_of(run.recipe, len(records.classes))
        weights = run.stage_folder("batchnorm") / "weights.safetensors"
        assign(network.named_variables(), read_tensors(weights)[0], weights)
        logits, labels, filenames = _predict_all(run, records, Predictor(network, strategy))
        view = summary(logits, labels)
        metrics = {"images": len(labels), "views": {VIEW: view}}
        _write_metrics(folder / "metrics.json", metrics)
        _write_predictions(folder / "predictions.csv", logits, labels, filenames, records.classes)
        outputs = [folder / "metrics.json", folder / "predictions.csv"]
        run.finish(begun, outputs, devices=device_names(strategy), metrics=metrics)
        print(
            f"evaluate: top-1 error {view['top1_error']:.2f} %, top-5 error {view['top5_error']:.2f} % "
            f"on {len(labels):,} images"
        )


class Predictor:
    """Logits of evaluation images, on all devices of the strategy, with the stored statistics."""

    def __init__(self, network: ResNet, strategy: tf.distribute.Strategy):
        self._strategy = strategy

        def logits(images: tf.Tensor) -> tf.Tensor:
            return network(images, training=False)[0]

        self._run = tf.function(lambda images: strategy.run(logits, args=(images,)), reduce_retracing=True)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Float32 logits [n, classes] of uint8 images [n, size, size, 3], for any n."""
        count = self._strategy.num_replicas_in_sync
        padding = -len(images) % count  # devices take equal shares; what fills them up is cut off again
        if padding:
            images = np.concatenate([images, np.zeros((padding, *images.shape[1:]), np.uint8)])
        logits = self._strategy.experimental_local_results(self._run(share(self._strategy, images)))
        return np.concatenate([part.numpy() for part in logits])[: len(logits[0]) * count - padding]


def score_round(run: Run, records: ShardedRecords, batches: Iterator[Batch], predictor: Predictor) -> dict[str, float]:
    """Loss and errors (percent) on the next round of the validation images."""
    parts = [(predictor(batch.images), batch.labels) for batch in islice(batches, validation_steps(run, records))]
    return scores(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Mean cross-entropy, top-1 and top-5 error in percent."""
    rows = np.arange(len(labels))
    # Classes not behind the right one: a network that answers the same for all classes, or no number, is wrong.
    rank = (~(logits < logits[rows, labels][:, None])).sum(1) - 1
    return {
        "loss": float(-log_softmax(logits.astype(np.float64), 1)[rows, labels].mean()),
        "top1_error": float(100 * np.mean(rank >= 1)),
        "top5_error": float(100 * np.mean(rank >= 5)),
    }


def summary(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """The scores, and the 95 % intervals of the errors (Wilson 1927) in percent."""
    result: dict[str, Any] = dict(scores(logits, labels))
    for name in ("top1_error", "top5_error"):
        wrong = round(result[name] * len(labels) / 100)
        interval = binomtest(wrong, len(labels)).proportion_ci(0.95, method="wilson")
        result[f"{name}_interval"] = [100 * float(interval.low), 100 * float(interval.high)]
    return result


def _predict_all(run: Run, records: ShardedRecords, predictor: Predictor) -> tuple[np.ndarray, np.ndarray, list[str]]:
    logits, labels, filenames = [], [], []
    with (
        validation_images(run, records, filenames=True) as loader,
        Progress("evaluating", len(records), "images") as progress,
    ):
        for batch in loader:
            logits.append(predictor(batch.images))
            labels.append(batch.labels)
            filenames += batch.filenames
            progress.advance(len(batch.labels))
    return np.concatenate(logits), np.concatenate(labels), filenames


def _write_metrics(path: Path, metrics: dict[str, Any]) -> None:
    with atomic(path, "w") as file:
        json.dump(metrics, file, indent=1)


def _write_predictions(
    path: Path, logits: np.ndarray, labels: np.ndarray, filenames: list[str], classes: list[tuple[str, str]]
) -> None:
    """One row an image: file, label, then the five likeliest classes and their probabilities."""
    names = np.array([identifier for identifier, _ in classes], object)
    count = min(5, len(classes))
    likeliest = np.argsort(-logits, axis=1, kind="stable")[:, :count]
    probabilities = np.exp(log_softmax(logits.astype(np.float64), 1))
    table: dict[str, Any] = {"file": filenames, "label": names[labels]}
    for place in range(count):
        table[f"class{place + 1}"] = names[likeliest[:, place]]
        table[f"probability{place + 1}"] = probabilities[np.arange(len(labels)), likeliest[:, place]].round(6)
    with atomic(path, "w") as file:
        pd.DataFrame(table).to_csv(file, index=False)

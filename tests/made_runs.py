"""Made runs: small records, and the results of the stages written by hand, as the report finds them. Nothing trains."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ledgers import begin, ledger_in
from scipy.stats import binomtest

from resnet.images.decoding import png
from resnet.ledger import Ledger
from resnet.predictions_file import write_predictions
from resnet.records.example import LabelledImage
from resnet.records.shards import Shard, shard_name, write_classes
from resnet.run import Machine

LOG = {"loss": 1.2, "top1_error": 34.1, "top5_error": 3.3, "learning_rate": 0.1, "images_per_second": 690.0}
SCORES = {
    "loss": 1.0,
    "top1_error": 100.0,
    "top5_error": 0.0,
    "top1_error_interval": [90.0, 100.0],
    "top5_error_interval": [0.0, 10.0],
}


def log_lines(epochs: int = 2, per_epoch: int = 1, validated: bool = False) -> list[dict[str, float]]:
    """A training log that falls from 80 % error; its first validation loss is 2,081."""
    lines: list[dict[str, float]] = []
    for step in range(1, epochs * per_epoch + 1):
        epoch = step / per_epoch
        error = 80 * 0.9**epoch
        times = {"step": step, "epoch": epoch, "seconds": float(step)}
        lines.append(LOG | times | {"loss": 3 * 0.8**epoch, "top1_error": error, "data_wait": 0.01})
        if validated and step % per_epoch == 0:
            loss = 2081.0 if epoch == 1 else 2 * 0.8**epoch
            lines.append(
                times | {"validation_loss": loss, "validation_top1_error": error, "validation_top5_error": 0.0}
            )
    return lines


def square(number: int, size: int) -> np.ndarray:
    """A grey square."""
    return np.full((size, size), 7 * number % 256, np.uint8)


@dataclass
class MadeRun:
    """What is known of a run. By default, validation image i has the label i (modulo the classes), and was taken for
    the class after it with a probability of 0.75."""

    classes: Sequence[str] = ("cat", "dog")
    filenames: Sequence[str] = ("a.jpg", "b.jpg")
    labels: np.ndarray | None = None  # of the validation images, int [n]
    logits: np.ndarray | None = None  # of the first view, float32 [n, classes]: the answers follow from them
    has_logits_file: bool = False
    other_views: dict[str, np.ndarray] = field(default_factory=dict)  # logits of other views
    first_view: str = "1-crop"
    metrics: dict[str, Any] = field(default_factory=dict)  # besides views
    train_images: int = 8
    size: int = 16
    picture: Callable[[int, int], np.ndarray] = square
    log: list[dict[str, float]] = field(default_factory=log_lines)
    convert: dict[str, Any] = field(default_factory=dict)  # facts in its stage.json
    train: dict[str, Any] = field(default_factory=dict)
    overrides: Sequence[str] = ()
    name: str = ""
    recipe: str = "digits"

    def write(self, artifacts: Path) -> Ledger:
        """Write all that comes before the report; returns the ledger. Runs on the same records share them."""
        size = self.size
        overrides = [
            f"model.image_size={size}",
            f"evaluation.shorter_side={size}",
            "training.batch_size=4",
            "training.replica_batch_size=4",
            *self.overrides,
        ]
        machine = Machine(workers=1)
        ledger = ledger_in(artifacts, *overrides, recipe=self.recipe, machine=machine, name=self.name)
        for stage, write in self._writers().items():
            if stage == "convert" and ledger.record("convert"):
                continue
            attempt = begin(ledger, stage)
            files = write(attempt.folder)
            attempt.finish(files, **self.facts(stage))
        return ledger

    def facts(self, stage: str) -> dict[str, Any]:
        """What a stage adds to its stage.json."""
        images = {"train": self.train_images, "validation": len(self.filenames)}
        made = {"images": images, "rejected": 0, "decode_warnings": 0, "converted": {}}
        views = {self.first_view: SCORES if self.logits is None else self.scores(self.logits)}
        views |= {view: self.scores(logits) for view, logits in self.other_views.items()}
        return {
            "convert": made | self.convert,
            "train": {"devices": ["CPU"], "corrupt_records": []} | self.train,
            "batchnorm": {},
            "evaluate": {"metrics": {"images": len(self.filenames), "views": views} | self.metrics},
        }[stage]

    def scores(self, logits: np.ndarray) -> dict[str, Any]:
        """A view's scores, as Evaluate has them."""
        rank = (logits >= np.take_along_axis(logits, self.all_labels[:, None], 1)).sum(1) - 1
        scores: dict[str, Any] = {"loss": 1.0}
        for name, places in (("top1_error", 1), ("top5_error", 5)):
            wrong, images = int((rank >= places).sum()), len(rank)
            interval = binomtest(wrong, images).proportion_ci(0.95, method="wilson")
            scores |= {name: 100 * wrong / images, f"{name}_interval": [100 * interval.low, 100 * interval.high]}
        return scores

    @property
    def all_labels(self) -> np.ndarray:
        if self.labels is not None:
            return self.labels
        return np.arange(len(self.filenames), dtype=np.int64) % len(self.classes)

    def _writers(self) -> dict[str, Callable[[Path], list[Path]]]:
        return {
            "convert": self._write_records,
            "train": self._write_log,
            "batchnorm": lambda folder: [],
            "evaluate": self._write_answers,
        }

    def _write_records(self, folder: Path) -> list[Path]:
        numbers = range(self.train_images)
        write_split(self, folder, "train", [f"{i}.jpg" for i in numbers], [i % len(self.classes) for i in numbers])
        write_split(self, folder, "validation", self.filenames, self.all_labels.tolist())
        write_classes(folder, [(name, name) for name in self.classes])
        return []

    def _write_log(self, folder: Path) -> list[Path]:
        (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in self.log))
        return []

    def _write_answers(self, folder: Path) -> list[Path]:
        if self.logits is None:
            count, labels = len(self.classes), self.all_labels
            likeliest = np.stack([(labels + 1) % count, labels], 1)[:, :count]
            self._write_table(folder / "predictions.csv", likeliest, np.tile([0.75, 0.25], (len(labels), 1))[:, :count])
            return []
        self._write_table(folder / "predictions.csv", *likeliest_of(self.logits))
        for view, logits in self.other_views.items():
            self._write_table(folder / f"predictions-{view}.csv", *likeliest_of(logits))
        if self.has_logits_file:
            np.save(folder / "logits.npy", self.logits.astype(np.float32))
        return []

    def _write_table(self, path: Path, likeliest: np.ndarray, probabilities: np.ndarray) -> None:
        classes = [(name, name) for name in self.classes]
        write_predictions(path, self.filenames, self.all_labels, likeliest, probabilities, classes)


def likeliest_of(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The five likeliest classes of each image, and their probabilities."""
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    places = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    return places, np.take_along_axis(probabilities, places, 1)


def write_split(run: MadeRun, folder: Path, split: str, filenames: Sequence[str], labels: Sequence[int]) -> None:
    """A shard with an image for each file name and label."""
    (folder / "index").mkdir(exist_ok=True)
    size = run.size
    Shard(folder, shard_name(split, 0, 1)).write(
        LabelledImage(
            png(run.picture(i, size)), "PNG", size, size, label, run.classes[label], run.classes[label], filename
        )
        for i, (filename, label) in enumerate(zip(filenames, labels, strict=True))
    )


def scattered_logits(labels: np.ndarray, classes: int, right: float, seed: int = 0) -> np.ndarray:
    """Logits that are right for about that share of the images, float32 [n, classes]."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1, (len(labels), classes)).astype(np.float32)
    sure = random.random(len(labels)) < right
    logits[np.arange(len(labels)), labels] += np.where(sure, 8, 1).astype(np.float32)
    return logits

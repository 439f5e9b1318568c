"""A made run: small records, and the results of its stages written by hand, as the report finds them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ledgers import begin, ledger_in

from resnet.images.decoding import png
from resnet.ledger import Ledger
from resnet.predictions_file import write_predictions
from resnet.records.example import LabelledImage
from resnet.records.shards import Shard, shard_name, write_classes
from resnet.run import Machine

OVERRIDES = (
    "model.image_size=16",
    "evaluation.shorter_side=16",
    "training.batch_size=4",
    "training.replica_batch_size=4",
)
LOG = {"loss": 1.2, "top1_error": 34.1, "top5_error": 3.3, "learning_rate": 0.1, "images_per_second": 690.0}
SCORES = {
    "loss": 1.0,
    "top1_error": 100.0,
    "top5_error": 0.0,
    "top1_error_interval": [90.0, 100.0],
    "top5_error_interval": [0.0, 10.0],
}


def facts(stage: str, images: int) -> dict[str, Any]:
    """What a stage adds to its stage.json."""
    return {
        "convert": {
            "images": {"train": 8, "validation": images},
            "rejected": 0,
            "decode_warnings": 0,
            "converted": {},
        },
        "train": {"devices": ["CPU"], "corrupt_records": []},
        "batchnorm": {},
        "evaluate": {"metrics": {"images": images, "views": {"1-crop": SCORES}}},
    }[stage]


@pytest.fixture
def stage_records() -> Callable[[int], dict[str, dict[str, Any]]]:
    """stage_records(images=3): what the report reads of each stage's stage.json."""
    time = "2026-01-01T00:00:00.000+00:00"
    common = {"attempts": 1, "start": time, "end": time}
    made_with = {"packages": {}, "python": "3.12.1", "host": "here", "git_commit": None}

    def make(images: int = 0) -> dict[str, dict[str, Any]]:
        stages = ("convert", "train", "batchnorm", "evaluate")
        return json.loads(json.dumps({stage: common | made_with | facts(stage, images) for stage in stages}))

    return make


def write_split(folder: Path, split: str, images: Sequence[tuple[str, int]], classes: Sequence[str]) -> None:
    """A shard of grey squares, each with its file name and label."""
    (folder / "index").mkdir(exist_ok=True)
    squares = [png(np.full((16, 16), 7 * i, np.uint8)) for i in range(len(images))]
    Shard(folder, shard_name(split, 0, 1)).write(
        LabelledImage(square, "PNG", 16, 16, label, classes[label], classes[label], filename)
        for square, (filename, label) in zip(squares, images, strict=True)
    )


@pytest.fixture
def made_run(tmp_path) -> Callable[..., Ledger]:
    """made_run(classes, filenames): the ledger of a run before its report.

    Validation image i has the label i (modulo the classes), and was taken for the class after it.
    """

    def make(classes: Sequence[str] = ("cat", "dog"), filenames: Sequence[str] = ("a.jpg", "b.jpg")) -> Ledger:
        ledger = ledger_in(tmp_path / "artifacts", *OVERRIDES, machine=Machine(workers=1))
        attempts = {}
        for stage in ("convert", "train", "batchnorm", "evaluate"):
            attempt = attempts[stage] = begin(ledger, stage)
            WRITERS[stage](attempt.folder, classes, filenames)
            attempt.finish([], **facts(stage, len(filenames)))
        return ledger

    return make


def write_records(folder: Path, classes: Sequence[str], filenames: Sequence[str]) -> None:
    write_split(folder, "train", [(f"{i}.jpg", i % len(classes)) for i in range(8)], classes)
    write_split(folder, "validation", [(name, i % len(classes)) for i, name in enumerate(filenames)], classes)
    write_classes(folder, [(name, name) for name in classes])


def write_log(folder: Path, classes: Sequence[str], filenames: Sequence[str]) -> None:
    lines = [LOG | {"step": 2 * epoch, "epoch": epoch, "data_wait": 0.0, "seconds": epoch} for epoch in (1, 2)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_nothing(folder: Path, classes: Sequence[str], filenames: Sequence[str]) -> None:
    pass


def write_answers(folder: Path, classes: Sequence[str], filenames: Sequence[str]) -> None:
    labels = np.arange(len(filenames), dtype=np.int32) % len(classes)
    likeliest = np.stack([(labels + 1) % len(classes), labels], 1)
    probabilities = np.tile([0.75, 0.25], (len(labels), 1))
    write_predictions(
        folder / "predictions.csv", filenames, labels, likeliest, probabilities, [(name, name) for name in classes]
    )


WRITERS = {"convert": write_records, "train": write_log, "batchnorm": write_nothing, "evaluate": write_answers}

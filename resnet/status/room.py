"""About how much disk the stages of a run would take that have not run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from resnet.errors import UserError
from resnet.ledger import Ledger
from resnet.records.shards import read_classes
from resnet.settings import Training
from resnet.training.checkpoint_files import NEWEST

AS_THEY_ARE = ("folder", "imagenet", "tfrecords")  # sources of images whose files take as much room in records
IMAGENET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
BOTTLENECK_FROM = 50  # layers
BYTES = 4  # of a number


class Room(NamedTuple):
    """Bytes; None where that is not known."""

    records: int | None
    training: int  # checkpoints and weights
    free: int  # on the disk of the artifacts folder

    def sentence(self) -> str:
        """For people; empty where next to nothing is needed."""
        parts = ["records of unknown size"] if self.records is None else []
        parts += [f"about {_in_words(self.records)} of records"] if self.records else []
        parts += [f"{_in_words(self.training)} of checkpoints and weights"] if self.training else []
        return f"Disk: {' and '.join(parts)}; {_in_words(self.free)} are free." if parts else ""


def room(ledger: Ledger, stages: Collection[str]) -> Room:
    """What these stages of the run would write."""
    run, recipe = ledger.run, ledger.run.recipe
    records: int | None = 0
    if "convert" in stages and not recipe.records.in_place:
        is_known = recipe.dataset.source in AS_THEY_ARE and run.data is not None
        records = _size(run.data) if is_known and run.data else (0 if recipe.dataset.source == "digits" else None)
    classes = _classes(run.records) or recipe.dataset.classes
    training = 0
    if "train" in stages:
        trained, moving = numbers(recipe.model.depth, classes)
        training = _checkpoints(recipe.training) * BYTES * (_states(recipe.training) * trained + moving)
    for stage in ("train", "batchnorm"):
        training += BYTES * sum(numbers(recipe.model.depth, classes)) if stage in stages else 0
    return Room(records, training, shutil.disk_usage(_existing(run.artifacts)).free)


def _in_words(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def _classes(records: Path) -> int:
    """0 where that is not known: the records may be still to be made."""
    try:
        return len(read_classes(records))
    except UserError:
        return 0


def numbers(depth: int, classes: int) -> tuple[int, int]:
    """How many numbers a network has: trained ones, and moving statistics of its batch normalisation.

    As `model/network.py` makes it, which would import TensorFlow.
    """
    kernels, norms = 0, 0

    def layer(inputs: int, outputs: int, size: int) -> None:
        nonlocal kernels, norms
        kernels, norms = kernels + size * size * inputs * outputs, norms + outputs

    is_imagenet = depth in IMAGENET_BLOCKS
    blocks = IMAGENET_BLOCKS.get(depth) or ((depth - 2) // 6,) * 3
    width, wider = (64, 4) if is_imagenet and depth >= BOTTLENECK_FROM else (64 if is_imagenet else 16, 1)
    inputs = width
    layer(3, width, 7 if is_imagenet else 3)
    for stage, count in enumerate(blocks):
        inner = width * 2**stage
        for _ in range(count):
            if inputs != inner * wider:
                layer(inputs, inner * wider, 1)
            if wider == 1:
                layer(inputs, inner, 3)
                layer(inner, inner, 3)
            else:
                layer(inputs, inner, 1)
                layer(inner, inner, 3)
                layer(inner, inner * wider, 1)
            inputs = inner * wider
    return kernels + 2 * norms + inputs * classes + classes, 2 * norms


def _states(training: Training) -> int:
    """Numbers that a checkpoint has for each trained one: itself, and what the optimizer remembers."""
    return 1 + (2 if training.optimizer == "lamb" else 1) + (1 if training.average else 0)


def _checkpoints(training: Training) -> int:
    kept = len({epoch for epoch in training.keep_epochs if epoch <= training.epochs})
    return NEWEST + 1 + kept  # one is written before the oldest is deleted


def _size(folder: Path) -> int:
    """Bytes of all files in a folder. Links to folders are not followed."""
    return sum(_length(Path(path) / name) for path, _, names in os.walk(folder) for name in names)


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())

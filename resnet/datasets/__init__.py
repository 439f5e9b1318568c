"""Sources of labelled images, one module each."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from pathlib import Path

from resnet import settings
from resnet.datasets.source import Dataset, Fingerprint, MissingData, Source
from resnet.errors import UserError

CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# Module and class of each source. Strings: scikit-learn and SciPy take a second to import.
SOURCES = {
    "digits": ("resnet.datasets.digits", "Digits"),
    "folder": ("resnet.datasets.folder", "Folder"),
    "idx": ("resnet.datasets.idx", "IdxFiles"),
    "imagenet": ("resnet.datasets.imagenet", "ImageNet"),
    "tfrecords": ("resnet.datasets.tfrecords", "TFRecords"),
}


def open_source(dataset: settings.Dataset, data: Path | None, artifacts: Path) -> Source:
    """Open the source that a recipe names, looking in `data`. Raises MissingData if its images are not there.

    Sources that can be downloaded keep what they fetch in `artifacts`/downloads.
    """
    module, name = SOURCES[dataset.source]
    return getattr(importlib.import_module(module), name)(dataset, data, artifacts / "downloads")


def load(dataset: settings.Dataset, data: Path | None, artifacts: Path) -> Dataset:
    """List the images. Raises UserError if the recipe expects other numbers, or a class has a name that is refused."""
    loaded = open_source(dataset, data, artifacts).load()
    _check_names(loaded.classes, data or dataset.source)
    for what, found, expected in (
        ("classes", len(loaded.classes), dataset.classes),
        ("training images", len(loaded.train), dataset.train_images),
        ("validation images", len(loaded.validation), dataset.validation_images),
    ):
        if expected and found != expected:
            raise UserError(
                f"{data or dataset.source}: found {found:,} {what}, but the recipe expects {expected:,}. "
                "Complete the data, or change the number in the recipe's [dataset] section (0: any number)."
            )
    return loaded


def _check_names(classes: Sequence[tuple[str, str]], place: Path | str) -> None:
    """Refuse names that classes.txt, a line per class with a tab inside, cannot hold."""
    for identifier, text in classes:
        if CONTROL.search(identifier + text):
            raise UserError(
                f"{place}: the class {identifier!r}, called {text!r}, has a tab, a line break or another control "
                "character in its name. Rename its folder, or correct the name where it comes from "
                "(dataset.class_names, TFRecords, meta.mat)."
            )


def fingerprint(dataset: settings.Dataset, data: Path | None, artifacts: Path) -> Fingerprint | None:
    """What the images are known by, without reading them all; None if they are not there."""
    try:
        return open_source(dataset, data, artifacts).fingerprint()
    except MissingData:
        return None

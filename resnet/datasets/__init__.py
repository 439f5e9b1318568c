"""Sources of labelled images, one module each."""

from __future__ import annotations

import importlib
from pathlib import Path

from resnet import settings
from resnet.datasets.source import Dataset, Fingerprint, MissingData, Source
from resnet.errors import UserError

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
    """List the images. Raises UserError if the recipe expects another number of images or classes."""
    loaded = open_source(dataset, data, artifacts).load()
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


def fingerprint(dataset: settings.Dataset, data: Path | None, artifacts: Path) -> Fingerprint | None:
    """What the images are known by, without reading them all; None if they are not there."""
    try:
        return open_source(dataset, data, artifacts).fingerprint()
    except MissingData:
        return None

"""Sources of labelled images, one module each."""

from __future__ import annotations

from pathlib import Path

from resnet import settings
from resnet.datasets.source import Dataset, MissingData, Source
from resnet.errors import UserError


def open_source(dataset: settings.Dataset, data: Path | None, artifacts: Path) -> Source:
    """Open the source that the recipe names, in the folder `data`. Raises MissingData if the images are not there.

    A source that downloads its images keeps them in `artifacts`/downloads.
    """
    if dataset.source == "digits":
        from resnet.datasets.digits import Digits

        return Digits(dataset)
    if dataset.source == "idx":
        from resnet.datasets.idx import IdxFiles

        return IdxFiles(dataset, data, artifacts / "downloads")
    if data is None:
        raise MissingData("this recipe needs images: say where they are with --data FOLDER, or in luigi.cfg")
    if not data.is_dir():
        raise MissingData(f"{data}: there is no such folder. Give the folder of the images with --data FOLDER.")
    if dataset.source == "imagenet":
        from resnet.datasets.imagenet import ImageNet

        return ImageNet(dataset, data)
    if dataset.source == "tfrecords":
        from resnet.datasets.tfrecords import TFRecords

        return TFRecords(dataset, data)
    from resnet.datasets.folder import Folder

    return Folder(dataset, data)


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


def fingerprint(dataset: settings.Dataset, data: Path | None, artifacts: Path) -> str | None:
    """A cheap fingerprint of the images, which changes when they do; None if they are not there."""
    try:
        return open_source(dataset, data, artifacts).fingerprint()
    except MissingData:
        return None

"""Folders of images: ROOT/train/CLASS/* with ROOT/val/CLASS/* (or valid, validation), or ROOT/CLASS/*, which is split.

A class folder may have folders inside. `resnet.datasets.listing` says which of its files are images.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from resnet import settings
from resnet.datasets.listing import add_ignored, class_names, entries, is_folder, list_images, outside_classes
from resnet.datasets.source import (
    Dataset,
    FileImage,
    FileNames,
    Fingerprint,
    Ignored,
    MissingData,
    Split,
    required_folder,
    split_off_validation,
)
from resnet.errors import UserError

TRAIN, VALIDATION, TEST = "train", ("val", "valid", "validation"), "test"


class Folder:
    """Images in class folders. Raises MissingData if `data` has no folders."""

    def __init__(self, dataset: settings.Dataset, data: Path | None, downloads: Path):
        self._dataset = dataset
        self._root = root = required_folder(data)
        if not class_names(root):
            raise MissingData(f"{root} has no folders of images: arrange them as ROOT/CLASS/* or ROOT/train/CLASS/*")

    def fingerprint(self) -> Fingerprint:
        """Of the names, sizes and times of the images."""
        return Fingerprint.of(self._entries())

    def _entries(self) -> Iterator[tuple[str, int]]:
        train = self._root / TRAIN
        for parent in [train, *self._validation_folders()] if train.is_dir() else [self._root]:
            for name in class_names(parent):
                folder = parent / name
                place = folder.relative_to(self._root)
                for image in list_images(folder).images:
                    size, modified = _size_and_time(f"{folder}/{image}")
                    yield f"{place}/{image}\0{size}\n", modified

    def load(self) -> Dataset:
        train_folder, validation_folder = self._layout()
        names = class_names(train_folder)
        ignored: Ignored = {}
        if validation_folder:
            if unmatched := set(class_names(validation_folder)) ^ set(names):
                raise UserError(
                    f"{self._root}: train and {validation_folder.name} need the same class folders; "
                    f"in one of them only: {_few(unmatched)}"
                )
            train = read_split(train_folder, names, self._root, ignored)
            validation = read_split(validation_folder, names, self._root, ignored)
        else:
            train, validation = self._split_off_validation(train_folder, names, ignored)
        if len(names) < 2:
            raise UserError(f"{self._root} has one class, {names[0]}: a classifier needs at least two")
        if train_folder != self._root:
            add_ignored(ignored, self._siblings(train_folder, validation_folder))
        return Dataset([(name, name.replace("_", " ")) for name in names], train, validation, ignored=ignored)

    def _layout(self) -> tuple[Path, Path | None]:
        """The folders of the training and of the validation classes; None: part of the training images is kept."""
        root, validation = self._root, self._validation_folders()
        found = class_names(root)
        odd = [name for name in found if name != name.lower()]
        if odd and {name.lower() for name in found} <= {TRAIN, TEST, *VALIDATION}:
            raise UserError(f"{root} has a folder {odd[0]}: rename it to {odd[0].lower()}, or it counts as a class")
        has_test = (root / TEST).is_dir()
        if not (root / TRAIN).is_dir():
            if validation or has_test:
                raise UserError(
                    f"{root} has a folder {validation[0].name if validation else TEST} but none called train: "
                    "put the training images into train/CLASS/*"
                )
            return root, None
        if len(validation) > 1:
            raise UserError(
                f"{root} has {' and '.join(folder.name for folder in validation)}, which all mean the validation "
                "images: keep one of them, and move the others away"
            )
        if has_test and not validation:
            raise UserError(
                f"{root} has train and test, but no val. Rename test to val to evaluate on it, "
                "or move it away to keep part of train for validation."
            )
        return root / TRAIN, validation[0] if validation else None

    def _validation_folders(self) -> list[Path]:
        return [self._root / name for name in VALIDATION if (self._root / name).is_dir()]

    def _siblings(self, *read: Path | None) -> Iterator[tuple[str, str]]:
        """What is beside the folders that are read: name and kind."""
        for entry in entries(self._root):
            if Path(entry.path) not in read:
                yield entry.name, "test images" if entry.name == TEST and is_folder(entry) else "beside train"

    def _split_off_validation(self, folder: Path, names: list[str], ignored: Ignored) -> tuple[Split, Split]:
        images = read_split(folder, names, self._root, ignored)
        if single := [names[i] for i in np.flatnonzero(np.bincount(images.labels) < 2)]:
            raise UserError(f"{folder / single[0]} has one image: add another, since one is kept for validation")
        return split_off_validation(images, self._dataset.validation_fraction, self._dataset.split_seed)


def read_split(folder: Path, names: list[str], root: Path, ignored: Ignored) -> Split:
    """List the images of the class folders `names` inside `folder`, and add to `ignored` what is no image.

    Filenames are relative to `root`. Raises UserError if there are no classes, or a class has no images.
    """
    if not names:
        raise UserError(f"{folder} has no class folders: put each class's images into a folder of their own")
    files, counts = FileNames(), []
    add_ignored(ignored, outside_classes(folder), str(folder.relative_to(root)))
    for name in names:
        images, others = list_images(folder / name)
        if not images:
            raise UserError(
                f"{folder / name} {_why_empty(others)}: remove the folder, or put the class's images into it"
            )
        files.extend(images)
        counts.append(len(images))
        add_ignored(ignored, others, str((folder / name).relative_to(root)))
    labels = np.repeat(np.arange(len(names), dtype=np.int32), counts)

    def image(i: int) -> FileImage:
        path = folder / names[labels[i]] / files[i]
        return FileImage(str(path.relative_to(root)), path)

    return Split(labels, image)


def _why_empty(ignored: list[tuple[str, str]]) -> str:
    if not ignored:
        return "is empty"
    kinds = Counter(kind for _, kind in ignored).most_common(3)
    return "has no images, only what is ignored (" + ", ".join(f"{kind}: {count:,}" for kind, count in kinds) + ")"


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:  # a broken link, which conversion reports as unreadable
        return -1, 0
    return status.st_size, status.st_mtime_ns


def _few(names: set[str]) -> str:
    return ", ".join(sorted(names)[:10]) + (" ..." if len(names) > 10 else "")

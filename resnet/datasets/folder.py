"""Folders of images: ROOT/train/CLASS/* with ROOT/val/CLASS/* (or validation), or just ROOT/CLASS/*, which is split.

A class folder may have folders inside. Names that begin with a dot are skipped; every other file counts as an image,
so that conversion reports an unreadable file instead of ignoring it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from resnet import settings
from resnet.datasets.source import (
    Dataset,
    FileImage,
    FileNames,
    Fingerprint,
    MissingData,
    Split,
    required_folder,
    split_off_validation,
)
from resnet.errors import UserError

VALIDATION = ("val", "validation")


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
        train, validation = self._root / "train", self._validation_folder()
        parents = [self._root] if not train.is_dir() else [train, validation] if validation else [train]
        for parent in parents:
            for path in (path for name in class_names(parent) for path in _files(parent / name)):
                size, modified = _size_and_time(path)
                yield f"{path.relative_to(self._root)}\0{size}\n", modified

    def load(self) -> Dataset:
        validation_folder = self._validation_folder()
        if not (self._root / "train").is_dir():
            if validation_folder:
                raise UserError(
                    f"{self._root} has a folder {validation_folder.name} but none called train: "
                    "put the training images into train/CLASS/*"
                )
            names = class_names(self._root)
            train, validation = self._split_off_validation(self._root, names)
        else:
            names = class_names(self._root / "train")
            if validation_folder:
                if unmatched := set(class_names(validation_folder)) ^ set(names):
                    raise UserError(
                        f"{self._root}: train and {validation_folder.name} need the same class folders; "
                        f"in one of them only: {_few(unmatched)}"
                    )
                train = read_split(self._root / "train", names, self._root)
                validation = read_split(validation_folder, names, self._root)
            else:
                train, validation = self._split_off_validation(self._root / "train", names)
        if len(names) < 2:
            raise UserError(f"{self._root} has one class, {names[0]}: a classifier needs at least two")
        return Dataset([(name, name.replace("_", " ")) for name in names], train, validation)

    def _validation_folder(self) -> Path | None:
        return next((self._root / name for name in VALIDATION if (self._root / name).is_dir()), None)

    def _split_off_validation(self, folder: Path, names: list[str]) -> tuple[Split, Split]:
        images = read_split(folder, names, self._root)
        if single := [names[i] for i in np.flatnonzero(np.bincount(images.labels) < 2)]:
            raise UserError(f"{folder / single[0]} has one image: add another, since one is kept for validation")
        return split_off_validation(images, self._dataset.validation_fraction, self._dataset.split_seed)


def class_names(folder: Path) -> list[str]:
    """The names of the class folders, sorted. A class's label is its position among them."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def read_split(folder: Path, names: list[str], root: Path) -> Split:
    """List the images of the class folders `names` inside `folder`; filenames are relative to `root`.

    Raises UserError if there are no classes, or a class has no images.
    """
    if not names:
        raise UserError(f"{folder} has no class folders: put each class's images into a folder of their own")
    files, counts = FileNames(), []
    for name in names:
        found = _files(folder / name)
        if not found:
            raise UserError(f"{folder / name} is empty: remove the folder, or put the class's images into it")
        files.extend(os.path.relpath(path, folder / name) for path in found)
        counts.append(len(found))
    labels = np.repeat(np.arange(len(names), dtype=np.int32), counts)

    def image(i: int) -> FileImage:
        path = folder / names[labels[i]] / files[i]
        return FileImage(str(path.relative_to(root)), path)

    return Split(labels, image)


def _files(folder: Path) -> list[Path]:
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in sorted(files) if not name.startswith(".")]
    return found


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # a broken link, which conversion reports as unreadable
        return -1, 0
    return status.st_size, status.st_mtime_ns


def _few(names: set[str]) -> str:
    return ", ".join(sorted(names)[:10]) + (" ..." if len(names) > 10 else "")

"""Folders of images: ROOT/train/CLASS/* and ROOT/val/CLASS/* (or validation), or ROOT/CLASS/* to be split.

A class's images may lie in folders inside its own. Names that begin with a dot are no images; everything else is
taken for one, so that a file that cannot be read is reported and never passed over.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from resnet import settings
from resnet.datasets.source import Dataset, FileImage, FileNames, MissingData, Split, split_off_validation
from resnet.errors import UserError

VALIDATION = ("val", "validation")


class Folder:
    def __init__(self, dataset: settings.Dataset, root: Path):
        self._dataset = dataset
        self._root = root
        if not class_names(root):
            raise MissingData(f"{root} holds no folders of images: make it ROOT/CLASS/* or ROOT/train/CLASS/*")

    def fingerprint(self) -> str:
        """From the names and sizes of the images, wherever the root lies."""
        digest = hashlib.sha256()
        for parent in [self._root / "train", *self._held()] if (self._root / "train").is_dir() else [self._root]:
            for path in (path for name in class_names(parent) for path in _files(parent / name)):
                told = f"{path.relative_to(self._root)}\0{_size(path)}\n"
                digest.update(told.encode(errors="surrogateescape"))
        return digest.hexdigest()

    def load(self) -> Dataset:
        held = self._held()
        if not (self._root / "train").is_dir():
            if held:
                raise UserError(f"{self._root} has a folder {held[0].name}, but none called train beside it")
            names = class_names(self._root)
            train, validation = self._part(self._root, names)
        else:
            names = class_names(self._root / "train")
            if held:
                if strangers := set(class_names(held[0])) ^ set(names):
                    raise UserError(
                        f"train and {held[0].name} in {self._root} differ in their classes: {_few(strangers)}"
                    )
                train = read_split(self._root / "train", names, self._root)
                validation = read_split(held[0], names, self._root)
            else:
                train, validation = self._part(self._root / "train", names)
        if len(names) < 2:
            raise UserError(f"{self._root} has one class, {names[0]}: there is nothing to tell apart")
        return Dataset([(name, name.replace("_", " ")) for name in names], train, validation)

    def _held(self) -> list[Path]:
        """The folder of validation images, where there is one."""
        return [self._root / name for name in VALIDATION if (self._root / name).is_dir()][:1]

    def _part(self, folder: Path, names: list[str]) -> tuple[Split, Split]:
        images = read_split(folder, names, self._root)
        if lonely := [names[i] for i in np.flatnonzero(np.bincount(images.labels) < 2)]:
            raise UserError(f"{folder / lonely[0]} has one image: a class needs two, one of them to validate")
        return split_off_validation(images, self._dataset.validation_fraction, self._dataset.split_seed)


def class_names(folder: Path) -> list[str]:
    """The names of a folder's folders, sorted: their order is the order of the labels."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def read_split(folder: Path, names: list[str], root: Path) -> Split:
    """The images of the class folders `names` inside `folder`. Raises UserError for a class without images."""
    if not names:
        raise UserError(f"{folder} holds no class folders")
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


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a link to nothing: conversion will report it as unreadable
        return -1


def _few(names: set[str]) -> str:
    return ", ".join(sorted(names)[:10]) + (" ..." if len(names) > 10 else "")

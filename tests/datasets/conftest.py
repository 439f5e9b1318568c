"""Fixtures for the tests of all sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small_imagenet import (
    IDS,
    KIT,
    TRAIN,
    TRAIN_TAR,
    TRUTH,
    VALIDATION,
    VALIDATION_TAR,
    kit_files,
    kit_tar,
    train_tar,
    validation_tar,
)

from resnet import settings
from resnet.datasets import load, open_source
from resnet.datasets.source import Dataset, Source, Split
from resnet.errors import UserError


@pytest.fixture
def dataset_of(tmp_path) -> Callable[..., Dataset]:
    """dataset_of("folder", root, classes=2, ...): the data set, loaded as conversion loads it."""

    def make(source: str, data: Path | None = None, **values) -> Dataset:
        return load(settings.Dataset(source=source, **values), data, tmp_path / "artifacts")

    return make


@pytest.fixture
def outcome_of(dataset_of) -> Callable[..., Dataset | str]:
    """Like dataset_of, but returns the message of a UserError instead of raising it."""

    def make(*place, **values) -> Dataset | str:
        try:
            return dataset_of(*place, **values)
        except UserError as error:
            return str(error)

    return make


@pytest.fixture
def source_of(tmp_path) -> Callable[..., Source]:
    """source_of("folder", root): the source, not yet loaded."""

    def make(source: str, data: Path | None = None, **values) -> Source:
        return open_source(settings.Dataset(source=source, **values), data, tmp_path / "artifacts")

    return make


@pytest.fixture
def files() -> Callable[..., Path]:
    """files(root, {"a/b.jpg": b"content"}): writes the files, with their folders, and returns root."""

    def make(root: Path, contents: dict[str, bytes]) -> Path:
        for name, content in contents.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        return root

    return make


@pytest.fixture
def labels_by_name() -> Callable[[Dataset, Split], dict[str, str]]:
    """labels_by_name(dataset, split): the identifier of each image's class, by filename."""

    def make(dataset: Dataset, split: Split) -> dict[str, str]:
        found = {split.image(i).filename: dataset.classes[split.labels[i]][0] for i in range(len(split))}
        assert len(found) == len(split), "two images share a filename"
        return found

    return make


@pytest.fixture
def archives(tmp_path, files) -> Path:
    """ImageNet's three archives."""
    return files(
        tmp_path / "archives",
        {TRAIN_TAR: train_tar(), VALIDATION_TAR: validation_tar(), f"{KIT}.tar.gz": kit_tar()},
    )


@pytest.fixture
def unpacked(tmp_path, files) -> Path:
    """ImageNet unpacked: class folders in train, files in val, and the kit's folder."""
    root = tmp_path / "unpacked"
    files(root, {f"train/{name[:9]}/{name}": content for name, content in TRAIN.items()})
    files(root, {f"val/{name}": content for name, content in VALIDATION.items()})
    return files(root, kit_files())


@pytest.fixture
def class_folders(tmp_path, files) -> Path:
    """ImageNet unpacked into class folders in train and val, without the kit."""
    root = tmp_path / "class folders"
    files(root, {f"train/{name[:9]}/{name}": content for name, content in TRAIN.items()})
    return files(
        root,
        {f"val/{IDS[truth]}/{name}": content for (name, content), truth in zip(VALIDATION.items(), TRUTH, strict=True)},
    )

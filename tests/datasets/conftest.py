"""What the tests of several sources share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from resnet import settings
from resnet.datasets import load, open_source
from resnet.datasets.source import Dataset, Source, Split
from resnet.errors import UserError


@pytest.fixture
def dataset_of(tmp_path) -> Callable[..., Dataset]:
    """dataset_of("folder", root, classes=2 ...): the data set, loaded as the stage does."""

    def make(source: str, data: Path | None = None, **values) -> Dataset:
        return load(settings.Dataset(source=source, **values), data, tmp_path / "artifacts")

    return make


@pytest.fixture
def outcome_of(dataset_of) -> Callable[..., Dataset | str]:
    """As dataset_of, but what a UserError says instead of the error."""

    def make(*place, **values) -> Dataset | str:
        try:
            return dataset_of(*place, **values)
        except UserError as error:
            return str(error)

    return make


@pytest.fixture
def source_of(tmp_path) -> Callable[..., Source]:
    """source_of("folder", root): the source alone, not yet loaded."""

    def make(source: str, data: Path | None = None, **values) -> Source:
        return open_source(settings.Dataset(source=source, **values), data, tmp_path / "artifacts")

    return make


@pytest.fixture
def files() -> Callable[..., Path]:
    """files(root, {"a/b.jpg": b"content"}): the files, with the folders they need."""

    def make(root: Path, contents: dict[str, bytes]) -> Path:
        for name, content in contents.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        return root

    return make


@pytest.fixture
def labels_by_name() -> Callable[[Dataset, Split], dict[str, str]]:
    """labels_by_name(dataset, split): the identifier of each image's class, by the image's name."""

    def make(dataset: Dataset, split: Split) -> dict[str, str]:
        found = {split.image(i).filename: dataset.classes[split.labels[i]][0] for i in range(len(split))}
        assert len(found) == len(split), "two images share a name"
        return found

    return make

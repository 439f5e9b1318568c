"""Records that several packages are tested with."""

from __future__ import annotations

import numpy as np
import pytest
from sample_images import photographs, write_records

from resnet.records.image_files import png
from resnet.records.shards import ShardedRecords


@pytest.fixture(scope="session")
def photo_records(tmp_path_factory: pytest.TempPathFactory) -> ShardedRecords:
    """50 photographs of two classes, in three shards."""
    folder = tmp_path_factory.mktemp("photo-records")
    write_records(folder, "train", photographs(50))
    return ShardedRecords(folder, "train")


@pytest.fixture(scope="session")
def square_records(tmp_path_factory: pytest.TempPathFactory) -> ShardedRecords:
    """37 grey squares of 16x16 pixels: image i has the grey value i, and the label i % 3."""
    folder = tmp_path_factory.mktemp("square-records")
    squares = [(png(np.full((16, 16), i, np.uint8)), i % 3) for i in range(37)]
    write_records(folder, "train", squares)
    return ShardedRecords(folder, "train")

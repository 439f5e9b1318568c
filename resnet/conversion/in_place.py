"""TFRecords made elsewhere, used where they are: links to the files, and indexes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from resnet.datasets.source import Dataset
from resnet.errors import UserError
from resnet.records.shards import INDEX_TYPE, SPLITS, Shard, shard_name


def link_shards(folder: Path, dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Link and index the data set's own TFRecord files; return the summaries by name."""
    summaries = {}
    for split in SPLITS:
        files = dataset.files[split]
        if not files:
            raise UserError(f"records.in_place: there are no {split} records, and none can be split off in place")
        for number, file in enumerate(files):
            index = np.empty(len(file.labels), INDEX_TYPE)
            index["offset"], index["length"], index["label"] = file.offsets, file.lengths, file.labels
            shard = Shard(folder, shard_name(split, number, len(files)))
            nothing: dict[str, Any] = {"rejected": [], "decode_warnings": [], "converted": {}}
            left_whole = {"in place": len(index)}
            summaries[shard.name] = shard.link(file.path, index, file.sha256, left_whole=left_whole, **nothing)
    return summaries


def superseded(folder: Path, dataset: Dataset) -> list[Path]:
    """The files of earlier shards that are none of today's: of other files, or of another number of them."""
    names = {
        shard_name(split, number, len(files)) for split, files in dataset.files.items() for number in range(len(files))
    }
    earlier = {path.stem for path in (folder / "index").glob("*.npy")}
    return [path for name in sorted(earlier - names) for path in Shard(folder, name).files()]

"""Which images go into which shard.

Images are assigned to shards by one random permutation per split, so that the shards are statistically alike: shards in
the order of the classes cost others three points of accuracy.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from resnet.datasets.source import Dataset, Split
from resnet.records.shards import shard_name
from resnet.settings import Records


class PlannedShard(NamedTuple):
    name: str
    split: Split
    members: np.ndarray  # which images of the split, in the shard's order
    digest: str  # of the list of images and labels


def plan(dataset: Dataset, records: Records, part: slice = slice(None)) -> list[PlannedShard]:
    """The shards of a data set, or only some: `part` selects from all training shards, then all validation shards."""
    shards = [
        (shard_name(name, number, count), split, members)
        for name, split, count in (
            ("train", dataset.train, records.train_shards),
            ("validation", dataset.validation, records.validation_shards),
        )
        for number, members in enumerate(assign(len(split), count, records.seed))
    ]
    return [PlannedShard(*shard, _list_digest(*shard[1:])) for shard in shards[part]]


def assign(images: int, shards: int, seed: int) -> list[np.ndarray]:
    """Assign images to shards: a random permutation, cut into pieces whose sizes differ by one at most."""
    return np.array_split(np.random.default_rng(seed).permutation(images), shards)


def _list_digest(images: Split, members: np.ndarray) -> str:
    digest = hashlib.sha256()
    for i in members:
        digest.update(f"{images.image(int(i)).filename}\0{images.labels[i]}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()

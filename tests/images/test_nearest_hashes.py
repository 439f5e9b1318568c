"""The nearest hashes, compared with what NumPy finds."""

from __future__ import annotations

import numpy as np

from resnet.images.nearest_hashes import NONE, nearest_hashes


def distances_between(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.unpackbits((some[:, None] ^ others).view(np.uint8).reshape(len(some), len(others), 8), axis=2).sum(2)


def test_the_nearest_are_those_that_sorting_all_distances_finds():
    random = np.random.default_rng(0)
    others = random.integers(0, 1 << 64, 500, np.uint64)
    others[100:200] = others[:100]  # ties
    changes = (np.uint64(1) << random.integers(0, 64, (50, 9), np.uint64)).T
    some = np.bitwise_xor.reduce(changes, axis=0) ^ others[:50]
    places, distances, counts = nearest_hashes(some, others, most=3, limit=24)
    expected = distances_between(some, others)
    for i, row in enumerate(expected):
        order = np.argsort(row, kind="stable")
        nearest = order[row[order] <= 24][:3]
        assert places[i].tolist() == [*nearest, *[NONE] * (3 - len(nearest))]
        assert distances[i, : len(nearest)].tolist() == row[nearest].tolist()
    assert counts.tolist() == (expected <= 24).sum(1).tolist()


def test_where_none_is_near_there_is_none():
    places, _, counts = nearest_hashes(np.zeros(2, np.uint64), np.full(5, 2**64 - 1, np.uint64), most=2, limit=63)
    assert places.tolist() == [[NONE] * 2] * 2
    assert counts.tolist() == [0, 0]


def test_of_many_that_share_one_hash_the_first_are_taken_and_all_are_counted():
    places, distances, counts = nearest_hashes(np.zeros(1, np.uint64), np.zeros(1000, np.uint64), most=2, limit=10)
    assert (places.tolist(), distances.tolist(), counts.tolist()) == ([[0, 1]], [[0, 0]], [1000])

"""The hashes nearest to given ones, by the number of bits that differ. Every pair is compared, so nothing is missed.

Compiled, that is fast enough without an index: a core compares two billion pairs a second. And no data set is a bad
case: for an index, images without contrast would be, which all share one hash.
"""

from __future__ import annotations

import numpy as np

from resnet.images.kernels import kernel

NONE = -1  # in place of a hash where there are fewer


def nearest_hashes(some: np.ndarray, others: np.ndarray, most: int, limit: int) -> tuple[np.ndarray, ...]:
    """For each of `some` hashes, up to `most` of the others that differ from it in at most `limit` bits.

    Both are uint64. Returns which others, int32 [n, most], nearest first, the earlier one first where two are as near,
    and NONE where there are fewer; in how many bits they differ, uint8 [n, most]; and how many there are in all within
    the limit, int64 [n].
    """
    places = np.full((len(some), most), NONE, np.int32)
    distances = np.zeros((len(some), most), np.uint8)
    counts = np.zeros(len(some), np.int64)
    _find(some, others, limit, places, distances, counts)
    return places, distances, counts


@kernel
def _find(some, others, limit, places, distances, counts):  # type: ignore[no-untyped-def]
    most = places.shape[1]
    for i in range(len(some)):
        kept = 0
        for j in range(len(others)):
            distance = np.int64(_bits(some[i] ^ others[j]))
            if distance > limit:
                continue
            counts[i] += 1
            if kept == most and distance >= distances[i, most - 1]:
                continue
            kept = min(kept + 1, most)
            place = kept - 1
            while place > 0 and distances[i, place - 1] > distance:
                distances[i, place], places[i, place] = distances[i, place - 1], places[i, place - 1]
                place -= 1
            distances[i, place], places[i, place] = distance, j


@kernel
def _bits(word):  # type: ignore[no-untyped-def]
    """How many bits of a uint64 are set; compilers know this sum of ever wider fields as one instruction."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)

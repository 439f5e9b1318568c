"""A hash of what an image shows: images that look alike have hashes that differ in few bits.

It is the DCT hash of pHash (Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions"): a small
grey picture, its lowest frequencies in both directions, and whether each is above their median. As in most
implementations these are the first eight, without the mean brightness, whose bit is always 0.
"""

from __future__ import annotations

import cv2
import numpy as np

KIND = "dct-1"  # in summaries of shards: hashes of another kind cannot be compared with these
BITS, DIGITS = 64, 16  # of a hash: in binary and in hexadecimal
SIDE, SAMPLED = 32, 128  # pixels of the small picture, and of what its area averages are taken over
FREQUENCIES = 8  # in each direction
DECIMALS = 3  # below that, the coefficients of an image without contrast are rounding errors

_PLACES = 2 * np.arange(SIDE) + 1
COSINES = np.cos(np.pi / (2 * SIDE) * np.outer(np.arange(FREQUENCIES), _PLACES))  # a DCT-II's


def perceptual_hash(pixels: np.ndarray) -> str:
    """The hash of an image, uint8 RGB [height, width, 3], as DIGITS hexadecimal digits."""
    # The average over all pixels would take eight times as long, a tenth of a conversion, and find no more.
    sampled = cv2.resize(pixels, (SAMPLED, SAMPLED), interpolation=cv2.INTER_LINEAR)
    small = cv2.resize(cv2.cvtColor(sampled, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    coefficients = (COSINES @ small.astype(np.float64) @ COSINES.T).round(DECIMALS).ravel()
    varying = coefficients[1:]
    coefficients[0] = median = np.partition(varying, len(varying) // 2)[len(varying) // 2]
    return np.packbits(coefficients > median).tobytes().hex()


def hashes_in(digits: str) -> np.ndarray:
    """The hashes in a string of them, DIGITS each: uint64 [n]. Raises ValueError for any other text."""
    if len(digits) % DIGITS:
        raise ValueError(f"it has {len(digits)} digits, not {DIGITS} a hash")
    return np.frombuffer(bytes.fromhex(digits), ">u8").astype(np.uint64)

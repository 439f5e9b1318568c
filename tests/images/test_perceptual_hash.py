"""The hash of what an image shows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from copies import COPIES, cuts
from scipy.fft import dctn

from resnet.images.perceptual_hash import DIGITS, hashes_in, perceptual_hash


def bits_between(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


@pytest.mark.parametrize("seed", range(5))
def test_the_bits_are_the_lowest_frequencies_of_a_dct_above_their_median(seed):
    grey = cv2.resize(np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8), (128, 128))
    small = grey.reshape(32, 4, 32, 4).mean((1, 3)).round()
    lowest = dctn(small)[:8, :8].ravel()
    bits = lowest > np.median(lowest[1:])
    bits[0] = False  # the mean
    assert perceptual_hash(np.stack([grey] * 3, axis=2)) == f"{int(''.join(map(str, bits.astype(int))), 2):0{DIGITS}x}"


@pytest.mark.parametrize("kind", COPIES)
def test_the_hash_of_a_copy_is_near_that_of_the_photograph(kind):
    distances = [bits_between(*map(perceptual_hash, (cut, COPIES[kind](cut)))) for cut in cuts(6)]
    assert max(distances) <= 10


def test_the_hashes_of_other_images_are_not_near():
    hashes = [perceptual_hash(np.random.default_rng(i).integers(0, 256, (9, 9, 3), np.uint8)) for i in range(12)]
    assert min(bits_between(hashes[i], hashes[j]) for i in range(12) for j in range(i)) > 10


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (128, 128), (700, 90)])
@pytest.mark.parametrize("level", [0, 77, 255])
def test_images_without_contrast_share_one_hash(size, level):
    assert perceptual_hash(np.full((*size, 3), level, np.uint8)) == "0" * DIGITS


def test_hashes_are_read_from_a_string_of_them():
    assert hashes_in("00000000000000ffff00000000000000").tolist() == [255, 255 << 56]
    assert hashes_in("").tolist() == []


@pytest.mark.parametrize("text", ["00ff", "00000000000000fg", "0" * 17])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match=r"digits|hexadecimal"):
        hashes_in(text)

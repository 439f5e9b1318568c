"""How alike two images are in their details."""

from __future__ import annotations

import numpy as np
import pytest
from copies import COPIES, cuts
from sklearn.datasets import load_digits

from resnet.analysis.near_duplicates import SIMILAR
from resnet.images.similarity import SIDE, similarity, small_picture


def of(one: np.ndarray, other: np.ndarray) -> float:
    return similarity(small_picture(one), small_picture(other))


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_like_its_photograph_from_either_side(kind):
    for cut in cuts(4):
        assert min(of(cut, COPIES[kind](cut)), of(COPIES[kind](cut), cut)) >= SIMILAR


def test_a_copy_that_lacks_an_edge_on_each_side_is_laid_over_its_photograph():
    for cut in cuts(4):
        assert of(cut, cut[7:-7, 7:-7]) >= SIMILAR


def test_other_photographs_are_not_alike():
    some = cuts(4)
    assert max(of(some[i], some[j]) for i in range(4) for j in range(i)) < 0.5


def test_other_digits_are_not_alike():
    scans = (load_digits().images * 255 / 16).astype(np.uint8)
    pictures = [small_picture(np.stack([scan] * 3, axis=2)) for scan in scans[:105]]
    nearest = [max(similarity(picture, other) for other in pictures[5:]) for picture in pictures[:5]]
    assert np.mean(np.array(nearest) >= SIMILAR) == 0


def test_pictures_without_details_are_alike_only_if_they_are_equal():
    grey, white = (np.full((SIDE, SIDE), level, np.uint8) for level in (128, 255))
    assert similarity(grey, grey.copy()) == 1
    assert similarity(grey, white) == 0
    assert of(cuts(1)[0], np.full((9, 9, 3), 7, np.uint8)) == 0


def test_a_mirrored_photograph_is_not_alike():
    cut = cuts(1)[0]
    assert of(cut, cut[:, ::-1]) < 0.5

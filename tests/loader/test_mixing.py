"""How the images of a step are mixed: the same for any number of hosts, and as published."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from resnet.loader.mixing import Mixer, kept
from resnet.loader.sampler import Share
from resnet.recipes import load_recipe

SIZE = 32


def mixes(count=2000, **changes) -> np.ndarray:
    mixer = Mixer(**{"mixup": 0.0, "cutmix": 0.0, "seed": 1, "replicas": 1} | changes)
    return np.concatenate([mixer(step, SIZE) for step in range(count)])


def test_a_recipe_without_mixing_has_no_mixer():
    assert Mixer.of(load_recipe("digits", [])[1]) is None
    assert Mixer.of(load_recipe("digits", ["augmentation.cutmix=1.0"])[1]) is not None


def test_mixup_keeps_a_share_of_the_whole_image_from_its_beta_distribution():
    found = mixes(mixup=0.4)
    assert not found[:, 1:].any()
    assert stats.kstest(found[:, 0], stats.beta(0.4, 0.4).cdf).pvalue > 0.001


def test_cutmix_replaces_a_box_around_a_random_centre_whose_area_is_one_minus_the_share():
    found = mixes(cutmix=1.0)
    assert (found[:, 0] == 1).all()
    top, left, bottom, right = found[:, 1:].T
    assert (top.min(), left.min(), bottom.max(), right.max()) == (0, 0, SIZE, SIZE)
    assert ((bottom >= top) & (right >= left)).all()
    inner = (top > 0) & (left > 0) & (bottom < SIZE) & (right < SIZE)  # not cut at the edges: squares
    assert np.abs((bottom - top) - (right - left))[inner].max() <= 1
    # Expected by the definition, with Yun et al.'s cut at the edges; the share is uniform for a parameter of 1.
    random = np.random.default_rng(0)
    side, centres = np.sqrt(1 - random.random(100_000)), random.random((100_000, 2))
    low, high = np.clip(centres - side[:, None] / 2, 0, 1), np.clip(centres + side[:, None] / 2, 0, 1)
    expected = (high - low).prod(1).mean()
    areas = (bottom - top) * (right - left) / SIZE**2
    assert areas.mean() == pytest.approx(expected, rel=0.05)


def test_with_both_a_replica_gets_one_of_them_each_half_of_the_time():
    found = mixes(mixup=0.4, cutmix=1.0)
    is_cutmix = found[:, 0] == 1
    assert is_cutmix.mean() == pytest.approx(0.5, abs=0.05)
    assert not found[~is_cutmix, 1:].any()


def test_replicas_have_mixes_of_their_own_whichever_host_draws_them():
    whole = Mixer(0.4, 1.0, 7, 4)(5, SIZE)
    assert len(np.unique(whole, axis=0)) == 4
    parts = [Mixer(0.4, 1.0, 7, 4, Share(rank, 2))(5, SIZE) for rank in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert whole.dtype == np.float32
    for other in (Mixer(0.4, 1.0, 8, 4)(5, SIZE), Mixer(0.4, 1.0, 7, 4)(6, SIZE)):
        assert (other != whole).any(1).all()


def test_an_image_keeps_its_share_outside_the_box_and_nothing_inside():
    found = kept(np.array([1, 2, 3, 5, 8]), 10)
    assert found.sum() == 100 - 3 * 5
    assert not found[2:5, 3:8].any()
    np.testing.assert_array_equal(kept(np.array([0.25, 0, 0, 0, 0]), 4), np.full((4, 4), 0.25))

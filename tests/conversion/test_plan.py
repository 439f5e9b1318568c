"""Which image goes into which shard."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from resnet.conversion.plan import assign


@given(count=st.integers(0, 3000), shards=st.integers(1, 200), seed=st.integers(0, 2**63))
def test_every_image_is_in_one_shard_and_shard_sizes_differ_by_one_at_most(count, shards, seed):
    assigned = assign(count, shards, seed)
    assert len(assigned) == shards
    np.testing.assert_array_equal(np.sort(np.concatenate(assigned)), np.arange(count))
    sizes = [len(images) for images in assigned]
    assert max(sizes) - min(sizes) <= 1


@given(count=st.integers(0, 300), shards=st.integers(1, 20), seed=st.integers(0, 2**63))
def test_the_same_seed_assigns_images_to_the_same_shards(count, shards, seed):
    for one, again in zip(assign(count, shards, seed), assign(count, shards, seed), strict=True):
        np.testing.assert_array_equal(one, again)


def test_another_seed_assigns_images_to_other_shards():
    assert not np.array_equal(assign(100, 1, 0)[0], assign(100, 1, 1)[0])


def test_each_shard_is_a_random_sample_of_all_classes():
    # Of 100 classes with 100 images each, a random shard of 100 images has 63 classes on average, give or take 3.
    labels = np.repeat(np.arange(100), 100)
    for shard in assign(len(labels), 100, 0):
        assert len(np.unique(labels[shard])) > 45
        assert np.any(np.diff(shard) < 0), "the images of a shard are sorted by class"

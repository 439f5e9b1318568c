from functools import partial

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from resnet.loader.random_streams import AUGMENTATION, SAMPLER, draws, philox

augmentation_draws = partial(draws, stream=AUGMENTATION)


@given(
    seed=st.integers(0, 2**63),
    epoch=st.integers(0, 1000),
    position=st.integers(0, 2**40),
    cut=st.integers(1, 9),
)
def test_draws_of_successive_positions_do_not_depend_on_how_they_are_cut(seed, epoch, position, cut):
    whole = augmentation_draws(seed, epoch, position, 10)
    parts = [
        augmentation_draws(seed, epoch, position, cut),
        augmentation_draws(seed, epoch, position + cut, 10 - cut),
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_draws_are_uniform_and_differ_between_seeds_epochs_and_positions():
    found = augmentation_draws(1, 2, 3, 5000)
    assert found.min() >= 0
    assert found.max() < 1
    np.testing.assert_allclose(found.mean(0), 0.5, atol=0.02)
    np.testing.assert_allclose(found.var(0), 1 / 12, atol=0.005)
    others = [
        augmentation_draws(0, 2, 3, 5000),
        augmentation_draws(1, 3, 3, 5000),
        augmentation_draws(1, 2, 5003, 5000),
    ]
    assert all(abs(np.corrcoef(found.ravel(), other.ravel())[0, 1]) < 0.01 for other in others)


def test_each_stream_has_its_own_numbers():
    found = [draws(1, 2, 3, 500, stream) for stream in (AUGMENTATION, SAMPLER, 2, 3)]
    pairs = [(a, b) for i, a in enumerate(found) for b in found[:i]]
    assert all(abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.03 for a, b in pairs)


def test_the_numbers_of_the_first_streams_never_change():
    # They decide what a resumed training sees.
    assert augmentation_draws(3, 5, 7, 1)[0, :3].round(6).tolist() == [0.079871, 0.837913, 0.158812]
    assert int(philox(3, 5, SAMPLER).random_raw()) == 8816289681961101031

"""What the range test finds, on losses that are made."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from resnet.training.range_test import Found, range_test, rates


def found_on(loss: Callable[[float], float], steps: int = 200) -> Found:
    """The test of a network whose loss depends on the learning rate alone."""
    step = SimpleNamespace(metrics=("loss",), place=lambda *batch: None, on=lambda batch, rate: [loss(rate)])
    batches = (SimpleNamespace(images=None, labels=None, step=number) for number in range(steps))
    return range_test(step, batches, rates(1e-5, 10.0, steps))


def valley(rate: float) -> float:
    """Lowest at a rate of 1, and far above where it began at 10."""
    return 2.0 + 0.5 * abs(math.log10(rate)) if rate < 1 else 2.0 * rate


def test_the_rates_rise_by_the_same_factor():
    found = rates(1e-5, 10.0, 7)
    np.testing.assert_allclose(found, [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10])


def test_a_tenth_of_the_rate_with_the_lowest_loss_is_suggested():
    found = found_on(valley)
    assert found.lowest == pytest.approx(1, rel=0.8)  # the mean of the loss follows some steps later
    assert found.suggested == pytest.approx(found.lowest / 10, rel=0.5)


def test_it_ends_where_the_loss_has_grown_and_where_it_is_not_finite():
    assert found_on(valley).points[-1].learning_rate < 10
    diverged = found_on(lambda rate: 2.0 if rate < 0.1 else math.nan)
    assert math.isnan(diverged.points[-1].loss)
    assert diverged.points[-2].learning_rate < 0.1 < diverged.points[-1].learning_rate * 1.01


def scattered(around: Callable[[float], float], by: float) -> Callable[[float], float]:
    random = np.random.default_rng(0)
    return lambda rate: around(rate) + by * random.normal()


@pytest.mark.parametrize(
    "loss",
    [
        lambda rate: 2.0 + rate,
        lambda rate: math.inf,
        scattered(lambda rate: 2.3, 0.05),
        scattered(lambda rate: 0.7 if rate < 1 else 0.7 * rate, 0.02),
        lambda rate: 2.3 - 0.01 * (rate > 0.1),
        lambda rate: 2.3 - (rate > 2e-5) + (rate > 1e-4),
    ],
    ids=["rises", "infinite", "scatters", "scatters and rises", "falls by less than a hundredth", "falls too early"],
)
@pytest.mark.parametrize("steps", [20, 60, 200])
def test_nothing_is_suggested_where_the_loss_does_not_fall_clearly(loss, steps):
    assert found_on(loss, steps).suggested is None


def test_a_fall_far_beyond_the_scatter_is_seen():
    found = found_on(scattered(valley, 0.1))
    assert found.suggested == pytest.approx(0.1, rel=0.9)


def test_the_mean_of_the_loss_begins_at_the_first_loss():
    assert found_on(lambda rate: 3.0).points[0].smooth == pytest.approx(3.0)

"""What the range test finds, on losses that are made."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from resnet.commands.find_learning_rate import drawn, sentence
from resnet.training.range_test import NO_FALL, NOT_FINITE, TOO_EARLY, Found, range_test, rates


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


def scattered(loss: Callable[[float], float], by: float, seed: int = 0) -> Callable[[float], float]:
    random = np.random.default_rng(seed)
    return lambda rate: loss(rate) + by * random.normal()


@pytest.mark.parametrize(
    ("loss", "by", "why"),
    [
        (lambda rate: 2.0 + rate, 0.0, NO_FALL),
        (lambda rate: 2.3, 0.05, NO_FALL),
        (lambda rate: 0.7 if rate < 1 else 0.7 * rate, 0.02, NO_FALL),
        (lambda rate: 2.3 - 0.01 * (rate > 0.1), 0.0, NO_FALL),
        (lambda rate: math.inf, 0.0, NOT_FINITE),
    ],
    ids=["rises", "scatters", "scatters and rises", "falls by less than a hundredth", "infinite"],
)
@pytest.mark.parametrize("steps", [20, 60, 200])
def test_nothing_is_suggested_where_the_loss_does_not_fall_clearly(loss, by, why, steps):
    found = found_on(scattered(loss, by), steps)
    assert (found.suggested, found.why_not) == (None, why)
    assert "nothing is suggested" in sentence(found)


def test_the_lowest_loss_is_looked_for_once_the_mean_has_settled():
    """Its first values are those of single steps."""
    assert found_on(lambda rate: 1.0 if 1.05e-5 < rate < 1.1e-5 else 2.3).lowest > rates(1e-5, 10.0, 200)[9]


def test_nothing_is_suggested_below_the_rates_that_were_tried():
    found = found_on(lambda rate: 2.3 - (4e-5 < rate < 9e-5))
    assert (found.suggested, found.why_not) == (None, TOO_EARLY)
    assert "below 1e-05, where none was tried" in sentence(found)


@pytest.mark.parametrize("seed", range(5))
def test_a_fall_far_beyond_the_scatter_is_seen(seed):
    found = found_on(scattered(valley, 0.1, seed))
    assert 0.08 <= found.suggested <= 0.1
    assert f"training.learning_rate={found.suggested:g}" in sentence(found)


def test_the_drawing_names_the_run_whatever_it_is_called():
    assert r"Range test of $\frac{1}{2}$ &amp; &lt;b&gt;<" in drawn(found_on(valley), r"$\frac{1}{2}$ & <b>")


def test_the_mean_of_the_loss_begins_at_the_first_loss():
    assert found_on(lambda rate: 3.0).points[0].smooth == pytest.approx(3.0)

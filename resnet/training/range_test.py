"""The range test of Smith 2017 (arXiv:1506.01186): a training whose learning rate rises until the loss does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from resnet.loader.loader import Batch
from resnet.training.step import TrainStep

MEMORY = 0.9  # of the moving mean of the loss
DIVERGED = 2.0  # times the lowest loss so far: nothing more is to be learned
STEADY = 0.1  # of the rate with the lowest loss: there training is usually steady
SETTLING = 10  # steps until the moving mean is one
# The loss falls clearly if it falls by this many standard deviations of the first losses, and this fraction of them.
CLEAR_DEVIATIONS, CLEAR_FRACTION = 2.0, 0.01

NOT_FINITE, NO_FALL, TOO_EARLY = "not finite", "no clear fall", "too early"  # why nothing is suggested


class Point(NamedTuple):
    """A step of the test."""

    learning_rate: float
    loss: float
    smooth: float  # the moving mean, without the pull to zero of its beginning


class Found(NamedTuple):
    """What the test says."""

    points: list[Point]
    lowest: float | None = None  # the learning rate at which the mean was lowest, once it had settled
    suggested: float | None = None
    why_not: str = ""


def rates(first: float, last: float, steps: int) -> list[float]:
    """Learning rates that rise by the same factor from step to step."""
    return np.geomspace(first, last, steps).tolist()


def range_test(
    step: TrainStep, batches: Iterable[Batch], rates: list[float], on_step: Callable[[Point], None] = lambda point: None
) -> Found:
    """Train a step at each rate, until the loss has grown to DIVERGED times its lowest or is not finite. It changes the
    network. `on_step` is called after each."""
    points: list[Point] = []
    for point in _followed(_losses(step, batches, rates)):
        points.append(point)
        on_step(point)
        if not math.isfinite(point.loss) or point.smooth > DIVERGED * min(one.smooth for one in points):
            break
    finite = [point for point in points if math.isfinite(point.loss)]
    if len(finite) < 2:
        return Found(points, why_not=NOT_FINITE)
    lowest = min(finite[min(SETTLING, len(finite) // 2) :], key=lambda point: point.smooth)
    if not _falls_clearly(finite, lowest.smooth):
        return Found(points, lowest.learning_rate, why_not=NO_FALL)
    suggested = _rounded(STEADY * lowest.learning_rate)
    if suggested < rates[0]:
        return Found(points, lowest.learning_rate, why_not=TOO_EARLY)
    return Found(points, lowest.learning_rate, suggested)


def _falls_clearly(points: list[Point], lowest: float) -> bool:
    """Whether the lowest mean is below the first losses by more than those scatter: their rates change nothing yet."""
    first = np.array([point.loss for point in points[: max(len(points) // 10, SETTLING // 2)]])
    return bool(first.mean() - lowest > max(CLEAR_DEVIATIONS * first.std(), CLEAR_FRACTION * first.mean()))


def _losses(step: TrainStep, batches: Iterable[Batch], rates: list[float]) -> Iterator[tuple[float, float]]:
    for batch, rate in zip(batches, rates, strict=True):
        metrics = step.on(step.place(batch.images, batch.labels, batch.step), rate)
        yield rate, float(metrics[step.metrics.index("loss")])


def _followed(losses: Iterator[tuple[float, float]]) -> Iterator[Point]:
    mean = weight = 0.0
    for rate, loss in losses:
        mean, weight = MEMORY * mean + (1 - MEMORY) * loss, MEMORY * weight + (1 - MEMORY)
        yield Point(rate, loss, mean / weight)


def _rounded(rate: float) -> float:
    """To one digit: the test says no more."""
    return float(f"{rate:.0e}")

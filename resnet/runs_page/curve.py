"""A small curve: the points of a polyline, and in words what it shows."""

from __future__ import annotations

from typing import NamedTuple

from resnet.inventory.training_progress import VALIDATION_ERROR, Curve

WIDTH, HEIGHT = 132, 36  # of the drawing, in its own units
MARGIN = 3  # so that a line along an edge is whole
MOST_POINTS = 120  # more do not show at this size


class Drawing(NamedTuple):
    """A curve to draw, from zero up to its greatest value."""

    points: str  # of an SVG polyline, "3,10 5.5,12"
    last: tuple[float, float]  # x and y of the newest point
    text: str  # for who cannot see it, and as its caption's long form
    caption: str


def drawing(curve: Curve) -> Drawing | None:
    """The drawing of a curve; None where it has no points."""
    if not curve.values:
        return None
    first, last = curve.epochs[0], curve.epochs[-1]
    top = max(max(curve.values), 1e-9)
    width, height = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    points = [
        (MARGIN + width * (epoch - first) / max(last - first, 1e-9), MARGIN + height * (1 - max(value, 0.0) / top))
        for epoch, value in _thinned(list(zip(curve.epochs, curve.values, strict=True)))
    ]
    return Drawing(" ".join(f"{x:.1f},{y:.1f}" for x, y in points), points[-1], _finding(curve), _caption(curve))


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_POINTS of the points, evenly, with the first and the last."""
    if len(points) <= MOST_POINTS:
        return points
    return [points[round(place * (len(points) - 1) / (MOST_POINTS - 1))] for place in range(MOST_POINTS)]


def _finding(curve: Curve) -> str:
    """ "Validation error fell from 45.1 % at epoch 1 to 1.11 % at epoch 40; lowest 0.84 % at epoch 38." """
    what = curve.what.capitalize()
    if len(curve.values) == 1:
        return f"{what} {_at(curve, 0)}."
    before, now = curve.values[0], curve.values[-1]
    if before == now:
        return f"{what} was {_at(curve, 0)}, and is again at epoch {epoch_text(curve.epochs[-1])}."
    verb = "fell" if now < before else "rose"
    lowest = min(range(len(curve.values)), key=curve.values.__getitem__)
    better = f"; lowest {_at(curve, lowest)}" if curve.values[lowest] < now and curve.values[lowest] < before else ""
    return f"{what} {verb} from {_at(curve, 0)} to {_at(curve, -1)}{better}."


def _caption(curve: Curve) -> str:
    """ "validation error 45.1 to 1.11 %"."""
    first, last = (value_text(curve.values[place]) for place in (0, -1))
    unit = " %" if curve.what == VALIDATION_ERROR else ""
    return f"{curve.what} {first} to {last}{unit}" if len(curve.values) > 1 else f"{curve.what} {last}{unit}"


def _at(curve: Curve, place: int) -> str:
    unit = " %" if curve.what == VALIDATION_ERROR else ""
    return f"{value_text(curve.values[place])}{unit} at epoch {epoch_text(curve.epochs[place])}"


def value_text(value: float) -> str:
    """A loss or an error with three digits: "67.7", "1.11", "0.0312"."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def epoch_text(epoch: float) -> str:
    """ "40", and "9.4" in the middle of an epoch."""
    return f"{int(10 * epoch) / 10:g}"

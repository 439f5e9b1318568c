"""Figures of a training: error, loss, learning rate and speed over the epochs."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from resnet.report.course import Course, Curve, curve
from resnet.report.drawing import BLUE, GREY, ORANGE, SOFT, Figure, drawn, legend_above
from resnet.report.wording import count
from resnet.training.log_format import LogLines

WIDE_RANGE = 20.0  # a loss whose greatest value is more than this times its smallest has a logarithmic axis


def training_figures(log: LogLines, course: Course | None) -> list[Figure]:
    """Four panels; none of a log without a line about training."""
    if course is None:
        return []
    return [
        _errors(log, course),
        _losses(log, course),
        _learning_rate(log, course),
        _speed(log, course),
    ]


def how_to_read(log: LogLines, course: Course) -> str:
    """What points and lines of the curves are."""
    shown = curve(log, "loss")
    thinned = f"; every {_ordinal(shown.step)} of {count(shown.lines, 'line')} is drawn" if shown.step > 1 else ""
    mean = f"The line through them is the mean of {shown.window} successive lines." if shown.window > 1 else ""
    drops = " Dashed lines are drops of the learning rate." if course.drops else ""
    return (
        f"Small points are the lines of the training log{thinned}. {mean} Circles are the validation after an epoch."
        f"{drops}"
    )


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    return f"{number}{ending}"


def _errors(log: LogLines, course: Course) -> Figure:
    def draw(axes: Axes) -> None:
        _pair(axes, log, course, "top1_error")
        axes.set_ylabel("top-1 error (%)")
        axes.set_ylim(0, None)

    return drawn("error", "Top-1 error", " ".join(course.sentences), draw)


def _losses(log: LogLines, course: Course) -> Figure:
    values = np.concatenate([curve(log, name).values for name in ("loss", "validation_loss")])
    values = values[values > 0]
    is_wide = len(values) > 0 and values.max() > WIDE_RANGE * values.min()

    def draw(axes: Axes) -> None:
        _pair(axes, log, course, "loss")
        if is_wide:
            _logarithmic(axes)
        else:
            axes.set_ylim(0, None)
        axes.set_ylabel("loss (logarithmic)" if is_wide else "loss")

    training, validation = curve(log, "loss"), curve(log, "validation_loss")
    finding = f"The training loss ended at {training.smooth[-1]:.3g}" if len(training.values) else "No loss is finite"
    if len(validation.values):
        first = f"started at {validation.values[0]:,.4g} and " if len(validation.values) > 1 else ""
        finding += f"; the validation loss {first}ended at {validation.values[-1]:,.3g}"
    return drawn("loss", "Loss", f"{finding}.", draw)


def _learning_rate(log: LogLines, course: Course) -> Figure:
    rates = curve(log, "learning_rate")

    def draw(axes: Axes) -> None:
        axes.step(rates.epochs, rates.values, color=BLUE, where="mid", linewidth=1.8)
        if len(set(rates.values)) > 1 and rates.values.min() > 0:
            _logarithmic(axes)
        else:
            axes.set_ylim(0, None)
        axes.set(xlabel="epoch", ylabel="learning rate")
        _mark_drops(axes, course)

    return drawn("learning_rate", "Learning rate", _course_of_rate(rates.values), draw)


def _course_of_rate(rates: np.ndarray) -> str:
    """What the learning rate did, in a sentence: with a warm-up it rises first."""
    first, most, last = (rates[0], rates.max(), rates[-1]) if len(rates) else (0.0, 0.0, 0.0)
    if first == most == last:
        return f"It stayed at {first:g}."
    return f"It went from {first:.3g}{f' up to {most:.3g}, and' if most > max(first, last) else ''} to {last:.3g}."


def _speed(log: LogLines, course: Course) -> Figure:
    speed = curve(log, "images_per_second")

    def draw(axes: Axes) -> None:
        _trace(axes, speed)
        axes.set(xlabel="epoch", ylabel="images per second")
        axes.set_ylim(0, None)

    finding = (
        f"Training took in {course.images_per_second:,.0f} images per second (median), and waited for images for "
        f"{100 * course.data_wait:.1f} % of the time"
    )
    if course.slowest_wait is not None:
        finding += f"; {100 * course.slowest_wait:.1f} % at most after the first epoch"
    return drawn("throughput", "Speed", f"{finding}.", draw)


def _pair(axes: Axes, log: LogLines, course: Course, name: str) -> None:
    """A quantity in training and in validation."""
    _trace(axes, curve(log, name), label="training")
    validation = curve(log, f"validation_{name}")
    axes.plot(
        validation.epochs,
        validation.values,
        color=ORANGE,
        label="validation" if len(validation.values) else None,
        linewidth=1.2,
        marker="o",
        markersize=4 if len(validation.values) <= 60 else 2.5,
    )
    _mark_drops(axes, course)
    axes.set_xlabel("epoch")
    legend_above(axes)


def _trace(axes: Axes, shown: Curve, label: str | None = None) -> None:
    axes.plot(shown.epochs, shown.values, linestyle="none", marker=".", markersize=3, color=GREY, alpha=0.6)
    axes.plot(shown.epochs, shown.smooth, color=BLUE, linewidth=1.8, label=label)


def _logarithmic(axes: Axes) -> None:
    """A logarithmic axis whose numbers are written out: raised exponents would be too small to read on a phone."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _mark_drops(axes: Axes, course: Course) -> None:
    for epoch in course.drops:
        axes.axvline(epoch, color=SOFT, linewidth=1, linestyle=(0, (4, 4)), alpha=0.7)

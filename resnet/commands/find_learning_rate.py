"""Try learning rates on a recipe: a short training whose rate rises until the loss does. The run stays as it is."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from resnet.commands.options import run_of
from resnet.errors import UserError
from resnet.files import atomic
from resnet.hosts.meeting import Alone
from resnet.ledger import Ledger
from resnet.ledger.locking import reading
from resnet.loader.batches import training_batches
from resnet.progress import Progress
from resnet.stages import ledger_of, without_keras, without_startup_notes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from resnet.training.range_test import Found

FIRST, LAST = 1e-5, 10.0  # learning rates


def main(options: argparse.Namespace) -> None:
    """Run the test, draw it, and say what it found. Raises UserError, without TensorFlow for what can be said early."""
    if options.steps < 10:
        raise UserError("--steps must be at least 10: each is one learning rate")
    run = run_of(options)
    ledger = ledger_of(run)
    ledger.require_inputs("train")
    out = drawing_path(options.out or f"{run.name}-learning-rates.svg")
    with reading(ledger, ["convert"]):
        ledger.require_inputs("train")  # again: they may have been made again meanwhile
        found = tested(ledger, options.steps)
    drawing = drawn(found, run.name)
    with atomic(out, "w") as file:
        file.write(drawing)
    print(f"find-learning-rate: {sentence(found)}")
    print(f"find-learning-rate: {out}")


def drawing_path(name: str) -> Path:
    """Where the drawing goes. Raises UserError for a name without .svg, or a folder that is not there."""
    path = Path(name).expanduser().absolute()
    if path.suffix.lower() != ".svg":
        raise UserError(f"--out {name}: the drawing is an SVG file, so its name must end in .svg")
    if not path.parent.is_dir():
        raise UserError(f"--out {name}: there is no folder {path.parent}")
    return path


def tested(ledger: Ledger, steps: int) -> Found:
    """Train so many steps, each at another learning rate, from the weights that a training of the run begins with."""
    with without_startup_notes(), without_keras():
        from resnet.stages.train import build, start
        from resnet.training.range_test import range_test, rates
    run = ledger.run
    pieces = build(run, Alone())
    start(ledger, pieces)
    with (
        training_batches(run.recipe, pieces.records, run.machine.workers, 0, steps) as loader,
        Progress("trying learning rates", steps, "steps") as progress,
    ):
        return range_test(
            pieces.step,
            loader,
            rates(FIRST, LAST, steps),
            lambda point: progress.advance(1, f"loss {point.loss:.3f}", f"rate {point.learning_rate:.2g}"),
        )


def sentence(found: Found) -> str:
    """What the test says."""
    from resnet.training.range_test import NOT_FINITE, TOO_EARLY

    if found.suggested is not None:
        return (
            f"the loss was lowest at {found.lowest:.2g}; about a tenth of that is usually steady: "
            f"training.learning_rate={found.suggested:g}"
        )
    look = "look at images and labels (python -m resnet batch)"
    if found.why_not == NOT_FINITE:
        return f"the loss is not finite from the first steps on, so nothing is suggested: {look}"
    if found.why_not == TOO_EARLY:
        return (
            f"the loss was lowest at {found.lowest:.2g}, so the rate that suits is below {FIRST:g}, where none was "
            "tried: this recipe scales its steps in an unusual way"
        )
    return (
        f"the loss did not fall clearly at any learning rate from {FIRST:g} to {found.points[-1].learning_rate:.2g}, "
        "so nothing is suggested: try more --steps, and a recipe that changes images less; if that is no better, "
        f"{look}"
    )


def drawn(found: Found, run: str) -> str:
    """The losses over the learning rates of a test of this run, as an SVG file."""
    from resnet.report.drawing import BLUE, GREY, ORANGE, drawn  # matplotlib takes a second

    points = [point for point in found.points if math.isfinite(point.loss)]
    lowest = min((point.smooth for point in points), default=1.0)

    def draw(axes: Axes) -> None:
        tried = [point.learning_rate for point in points]
        axes.plot(tried, [point.loss for point in points], ".", color=GREY, markersize=3, label="of a step")
        axes.plot(tried, [point.smooth for point in points], color=BLUE, label="moving mean")
        if found.suggested is not None:
            axes.axvline(found.suggested, color=ORANGE, linestyle="--", label=f"suggested: {found.suggested:g}")
        axes.set_title(f"Range test of {run}", loc="left", parse_math=False)
        axes.legend(loc="upper left")
        axes.set_xscale("log")
        axes.set_ylim(0, 2 * max(points[0].loss, lowest) if points else 1)
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")

    return drawn("learning-rates", "Learning rates", sentence(found), draw).svg

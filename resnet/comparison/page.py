"""A comparison as one self-contained page, with the curves of all runs over each other."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import jinja2
from matplotlib.axes import Axes

from resnet.comparison.compared import ComparedRun
from resnet.comparison.comparison import Comparison
from resnet.report.course import curve
from resnet.report.drawing import BLUE, GREEN, GREY, ORANGE, RED, STYLE_SHEET, Figure, drawn
from resnet.report.names import readable

COLOURS = (BLUE, ORANGE, GREEN, RED, GREY)
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))  # where curves cover each other, and for who sees no colours
CURVES = {
    "validation_top1_error": ("Validation error", "top-1 error (%)"),
    "loss": ("Training loss", "loss"),
    "images_per_second": ("Speed", "images per second"),
}


def render(comparison: Comparison) -> str:
    """The page. Whatever the names are, it can be encoded as UTF-8."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = resources.files("resnet.comparison").joinpath("page.html").read_text(encoding="utf-8")
    page = environment.from_string(template).render(
        comparison=comparison, figures=figures(comparison.runs), style=STYLE_SHEET.read_text(encoding="utf-8")
    )
    return readable(page)


def figures(runs: Sequence[ComparedRun]) -> list[Figure]:
    """A panel for each curve that any of the runs has."""
    found = []
    for name, (title, label) in CURVES.items():
        with_curve = [(number, run) for number, run in enumerate(runs) if len(curve(run.log, name).values)]
        if with_curve:
            found.append(_overlaid(name, title, label, with_curve))
    return found


def _overlaid(name: str, title: str, label: str, runs: Sequence[tuple[int, ComparedRun]]) -> Figure:
    ends = [f"{run.name} ends at {curve(run.log, name).smooth[-1]:.4g}" for _, run in runs]

    def draw(axes: Axes) -> None:
        for number, run in runs:
            shown = curve(run.log, name)
            colour, dashes = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
            axes.plot(shown.epochs, shown.smooth, color=colour, linestyle=dashes, linewidth=1.8, label=run.name)
        axes.set(xlabel="epoch", ylabel=label)
        axes.set_ylim(0, None)
        axes.legend(loc="best")

    return drawn(f"compared_{name}", title, f"{', '.join(ends)}.", draw)

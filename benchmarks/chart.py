"""A bar chart of the compared pipelines, for a README: readable on white and on dark pages."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from contenders import AS_SHIPPED, BY_HAND, OURS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch

WIDTH, HEIGHT_OF_A_BAR, HEIGHT_OF_TITLE, HEIGHT_OF_TEXT = 9.0, 0.3, 0.3, 1.25  # inches of 100 pixels
COLUMNS = 2
CROPS = {"scale": "He et al.'s crops", "area": "crops of 8 to 100 %"}
FILL = {OURS: "#d9480f", BY_HAND: "#f4b183", AS_SHIPPED: "#8da2b8"}
Figures = dict[str, dict[str, Any]]  # of the pipelines, by name

TEXT, MUTED = "#1f2328", "#59636e"


def draw(reports: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the chart of reports of `input_pipeline.py`: a panel for each table's column, in rows of COLUMNS."""
    mpl.rcParams.update({"font.family": "DejaVu Sans", "font.size": 10, "text.color": TEXT, "svg.hashsalt": "chart"})
    require_alike(reports)
    panels = dict(panel for report in reports for panel in panels_of(report))
    names = in_sequence(list(panels.values()))
    rows, columns = -(-len(panels) // COLUMNS), min(len(panels), COLUMNS)
    height = rows * (HEIGHT_OF_TITLE + HEIGHT_OF_A_BAR * len(names)) + HEIGHT_OF_TEXT
    figure, grid = plt.subplots(rows, columns, figsize=(WIDTH, height), sharex=True, sharey=True, squeeze=False)
    for axes, (title, figures) in itertools.zip_longest(grid.flat, panels.items(), fillvalue=("", {})):
        axes.set_visible(bool(figures))
        draw_panel(axes, title, figures, names)
    all_figures = [figure for figures in panels.values() for figure in figures.values()]
    grid[0, 0].set_xlim(0, 1.2 * max(max(one["rounds"]) for one in all_figures))  # room for the numbers
    figure.subplots_adjust(
        left=0.295, right=0.985, top=1 - 0.87 / height, bottom=0.62 / height, wspace=0.04, hspace=0.14
    )
    figure.text(0.02, 1 - 0.3 / height, "Input pipelines: images/s", size=14, weight="bold", va="center")
    figure.text(0.02, 0.3 / height, caption(reports[0]["about"]), size=8, color=MUTED, va="center", linespacing=1.4)
    present = {one["kind"] for one in all_figures}
    handles = [Patch(color=fill, label=kind) for kind, fill in FILL.items() if kind in present]
    figure.legend(
        handles=handles, ncols=3, frameon=False, fontsize=9, loc="center right", bbox_to_anchor=(0.98, 1 - 0.3 / height)
    )
    add_background(figure)
    figure.savefig(path, transparent=True, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=100)
    plt.close(figure)


def require_alike(reports: Sequence[dict[str, Any]]) -> None:
    """Raise SystemExit unless the reports differ in crops and sizes only: one caption is for all panels."""
    titles = [title for report in reports for title, _ in panels_of(report)]
    if twice := {title for title in titles if titles.count(title) > 1}:
        raise SystemExit(f"error: two reports have the panel '{twice.pop()}'")
    for name in ("cpu", "cores", "workers", "batch", "images", "rounds", "seconds"):
        if len({report["about"][name] for report in reports}) > 1:
            raise SystemExit(f"error: the reports differ in '{name}': a chart compares what was measured alike")


def panels_of(report: dict[str, Any]) -> Iterator[tuple[str, Figures]]:
    """Titles, and the figures that are drawn: not ceilings, and not variants with other pixels."""
    about = report["about"]
    for kind, figures in report["results"].items():
        title = f"{CROPS[about['crop']]}, {about['size']}×{about['size']}, {kind}"
        yield title, {name: figure for name, figure in figures.items() if figure["kind"] in FILL}


def in_sequence(panels: Sequence[Figures]) -> list[str]:
    """This project first, then the fastest, by the first panel that has them."""
    rates: dict[str, tuple[bool, float]] = {}
    for figures in reversed(panels):
        rates |= {name: (figure["kind"] == OURS, figure["rate"]) for name, figure in figures.items()}
    return sorted(rates, key=lambda name: rates[name], reverse=True)


def draw_panel(axes: Axes, title: str, figures: Figures, names: list[str]) -> None:
    """A bar for each pipeline, with whiskers from its slowest to its fastest round."""
    for row, name in enumerate(names):
        if name not in figures:
            continue
        figure = figures[name]
        rate, least, greatest = figure["rate"], min(figure["rounds"]), max(figure["rounds"])
        whiskers = [[max(rate - least, 0)], [max(greatest - rate, 0)]]
        axes.barh(row, rate, height=0.72, color=FILL[figure["kind"]])
        axes.errorbar(rate, row, xerr=whiskers, color=TEXT, elinewidth=1, capsize=2.5, capthick=1)
        weight = "bold" if figure["kind"] == OURS else "normal"
        axes.annotate(
            f"{rate:,.0f}",
            (max(rate, greatest), row),
            (4, 0),
            textcoords="offset points",
            va="center",
            weight=weight,
            size=9,
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_title(title, size=10, loc="left", pad=5, color=TEXT)
    axes.patch.set_visible(False)
    axes.tick_params(axis="y", length=0, labelcolor=TEXT)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color("#c5ccd3")


def caption(about: dict[str, Any]) -> str:
    return (
        f"{about['cores']} cores of {about['cpu']}; {about['workers']} workers, batches of {about['batch']}; "
        f"{about['images']:,} JPEGs of {about['kilobytes_an_image']} KB.\n"
        f"Bars: median of {about['rounds']} rounds of {about['seconds']:g} s, taken in turn. "
        "Whiskers: the slowest and the fastest round."
    )


def add_background(figure: Figure) -> None:
    """A white card with rounded corners; the page shows around it."""
    width, height = figure.get_size_inches()
    card = FancyBboxPatch(
        (0.02, 0.02),
        width - 0.04,
        height - 0.04,
        boxstyle="round,pad=0,rounding_size=0.12",
        transform=figure.dpi_scale_trans,
        facecolor="white",
        edgecolor="#d0d7de",
        linewidth=1,
        zorder=-10,
    )
    figure.add_artist(card)

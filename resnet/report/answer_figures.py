"""Figures about the answers: whether their probabilities can be trusted, and what averaged statistics change."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from resnet.analysis.calibration import Calibration
from resnet.report.drawing import BLUE, CARD, GREY, ORANGE, SOFT, Figure, drawn, legend_above

SURE = 0.9  # a probability


def calibration_figures(calibration: Calibration, confidence: np.ndarray) -> list[Figure]:
    """The reliability diagram, and how many answers are given with which probability. `confidence`: of each image's
    first answer, float64 [n]; NaN where there is none."""
    bins = calibration.bins[calibration.bins["images"] > 0]
    if bins.empty:
        return []

    def reliability(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1.2, linestyle=(0, (4, 4)))
        below, above = bins["accuracy"] - bins["accuracy_low"], bins["accuracy_high"] - bins["accuracy"]
        spread = [np.maximum(below, 0), np.maximum(above, 0)]
        axes.errorbar(bins["confidence"], bins["accuracy"], spread, fmt="none", ecolor=BLUE, elinewidth=1.2, alpha=0.6)
        sizes = 12 + 120 * bins["images"] / bins["images"].max()
        axes.scatter(bins["confidence"], bins["accuracy"], s=sizes, color=BLUE, zorder=3)
        axes.set(xlabel="probability of the answer", ylabel="share that is right", xlim=(0, 1.03), ylim=(0, 1.03))

    def confidences(axes: Axes) -> None:
        every = calibration.bins
        axes.bar(every["low"], every["images"], every["high"] - every["low"], align="edge", color=BLUE, edgecolor=CARD)
        axes.set(xlabel="probability of the answer", ylabel="images", xlim=(0, 1))

    sure = np.mean(confidence[~np.isnan(confidence)] >= SURE)
    share = f"{100 * sure:.0f} % of the answers are given with a probability of {SURE} or more."
    return [
        drawn("reliability", "Reliability", calibration.sentence, reliability, height=4.2),
        drawn("confidence", "Confidence", share, confidences, height=4.2),
    ]


def statistics_figure(rows: list[dict[str, Any]], finding: str) -> Figure | None:
    """The error against the number of averaged batches, with the moving averages as a line; None without rows."""
    averaged = [row for row in rows if row["batches"]]
    if not averaged:
        return None
    moving = next((row for row in rows if not row["batches"]), None)

    def draw(axes: Axes) -> None:
        batches, errors = ([row[key] for row in averaged] for key in ("batches", "top1_error"))
        low, high = np.array([row["top1_error_interval"] for row in averaged]).T
        axes.fill_between(batches, low, high, color=BLUE, alpha=0.15, linewidth=0)
        axes.plot(batches, errors, color=BLUE, marker="o", markersize=4, linewidth=1.5, label="averaged over batches")
        if moving:
            axes.axhline(
                moving["top1_error"], color=ORANGE, linewidth=1.5, linestyle=(0, (4, 4)), label="moving averages"
            )
        axes.set_xscale("log")
        nearest = [later / number < 1.5 for number, later in itertools.pairwise(batches)] + [False]
        axes.set_xticks(batches, ["" if close else f"{n:,}" for n, close in zip(batches, nearest, strict=True)])
        axes.minorticks_off()
        axes.tick_params(axis="x", labelcolor=SOFT)
        axes.set(xlabel="training batches averaged over", ylabel="top-1 error (%)")
        axes.set_ylim(0, None)
        legend_above(axes)

    return drawn("statistics", "Batch-norm statistics", finding, draw)

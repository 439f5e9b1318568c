"""Figures about the classes: how errors and images are distributed over them, and which are taken for which."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from resnet.analysis.answers import EvaluatedImages
from resnet.analysis.confusions import confusion_matrix
from resnet.report.class_errors import ALL_CLASSES, ClassErrors
from resnet.report.drawing import BLUE, CARD, ORANGE, WIDTH, Figure, drawn
from resnet.report.names import one_line

CONFUSION_CLASSES = 30  # more than these are illegible in a matrix
TICK = 22  # characters of a name at an axis
FAINTEST, STRONGEST = 0.15, 0.45  # opacity of cells: text on them stays legible in light and dark


def class_figures(table: pd.DataFrame, errors: ClassErrors) -> list[Figure]:
    """Distributions over the classes, where there are too many for the table."""
    if len(table) <= ALL_CLASSES:
        return []
    known = table[table["images"] > 0]
    figures = [
        _histogram("class_errors", "Error by class", known["error"], "top-1 error of the class (%)", errors.sentence)
    ]
    if table["training_images"].min() >= 0:
        images = table["training_images"]
        finding = errors.images_sentence or "The training images of the classes."
        figures.append(_histogram("class_images", "Images by class", images, "training images of the class", finding))
    return figures


def _histogram(name: str, title: str, values: pd.Series, label: str, finding: str) -> Figure:
    def draw(axes: Axes) -> None:
        axes.hist(values, bins=30, color=BLUE, edgecolor=CARD, linewidth=0.8)
        axes.set(xlabel=label, ylabel="classes")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))

    return drawn(name, title, finding, draw)


def confusion_figure(images: EvaluatedImages, names: list[str], errors: ClassErrors) -> Figure | None:
    """Which class is predicted for which label; None for one class, and for more than CONFUSION_CLASSES."""
    if not 1 < len(names) <= CONFUSION_CLASSES:
        return None
    matrix = confusion_matrix(images)
    share = matrix / np.maximum(np.bincount(images.labels, minlength=len(names))[:, None], 1)
    texts = [one_line(name, TICK) for name in names]
    longest = max(map(len, texts))

    def draw(axes: Axes) -> None:
        for row, column in np.argwhere(matrix):
            color = BLUE if row == column else ORANGE
            opacity = max(STRONGEST * np.sqrt(share[row, column]), FAINTEST)
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=color, alpha=opacity, linewidth=0))
            axes.text(column, row, f"{matrix[row, column]}", ha="center", va="center", fontsize=11)
        places = range(len(texts))
        axes.set_xticks(places, texts, rotation=90 if longest > 2 else 0, parse_math=False)
        axes.set_yticks(places, texts, parse_math=False)
        axes.set(xlabel="predicted", ylabel="label", aspect="equal")
        axes.set(xlim=(-0.5, len(texts) - 0.5), ylim=(len(texts) - 0.5, -0.5))
        axes.grid(False)

    side = max(0.34 * len(texts) + 0.09 * longest + 0.8, WIDTH if len(texts) <= 10 else 0)
    finding = errors.confused_sentence or "Every image got the class of its label."
    return drawn("confusion", "Confusion matrix", finding, draw, width=side, height=side)

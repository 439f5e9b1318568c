"""Published errors: published.csv. All are on ImageNet's validation images."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from resnet.recipes import load_recipe
from resnet.settings import Recipe

TABLE = Path(__file__).parent / "published.csv"
IMAGENET_IMAGES, IMAGENET_CLASSES = 50_000, 1000


class Published(NamedTuple):
    network: str
    source: str
    view: str
    top1_error: float  # percent
    top5_error: float | None
    note: str
    recipe: str  # the shipped recipe that has these weights, or this training; empty if there is none


def published_errors(recipe: Recipe) -> list[Published]:
    """The published errors of the recipe's network, lowest first."""
    rows = [row for row in _table() if row.network == f"ResNet-{recipe.model.depth}"]
    return sorted(rows, key=lambda row: row.top1_error)


def expected_error(recipe_name: str, recipe: Recipe) -> Published | None:
    """What a run of a shipped recipe should reach; None where nothing is published, or the recipe was changed."""
    for row in _table():
        if row.recipe == recipe_name:
            shipped = load_recipe(recipe_name)[1]
            same = (recipe.model, recipe.evaluation.one_crop) == (shipped.model, shipped.evaluation.one_crop)
            return row if same else None
    return None


def agreement(scores: Mapping[str, Any], expected: Published) -> str:
    """Whether a published top-1 error is inside the 95 % interval of the measured one, in words."""
    low, high = scores["top1_error_interval"]
    if low <= expected.top1_error <= high:
        return f"agrees: inside {low:.2f} to {high:.2f}"
    return f"differs by {scores['top1_error'] - expected.top1_error:+.2f} points: outside {low:.2f} to {high:.2f}"


def is_imagenet(recipe: Recipe, images: int, classes: int) -> bool:
    """Whether validation images are ImageNet's 50,000, from its archives or from TFRecords of others."""
    is_complete = (images, classes) == (IMAGENET_IMAGES, IMAGENET_CLASSES)
    return recipe.dataset.source in ("imagenet", "tfrecords") and is_complete


def _table() -> list[Published]:
    with open(TABLE, encoding="utf-8", newline="") as file:
        return [
            Published(
                row["network"],
                row["source"],
                row["view"],
                float(row["top1_error"]),
                float(row["top5_error"]) if row["top5_error"] else None,
                row["note"],
                row["recipe"],
            )
            for row in csv.DictReader(file)
        ]

"""Published errors of the same networks: published.csv."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from resnet.settings import Recipe

TABLE = Path(__file__).parent / "published.csv"


class Published(NamedTuple):
    source: str
    view: str
    top1_error: float  # percent
    top5_error: float | None
    note: str


def published_errors(recipe: Recipe) -> list[Published]:
    """The published errors of the recipe's network, lowest first. All are on ImageNet's validation images."""
    with open(TABLE, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["network"] == f"ResNet-{recipe.model.depth}"]
    found = [
        Published(
            row["source"],
            row["view"],
            float(row["top1_error"]),
            float(row["top5_error"]) if row["top5_error"] else None,
            row["note"],
        )
        for row in rows
    ]
    return sorted(found, key=lambda row: row.top1_error)

"""runs: all runs in a table, sorted by any of its columns."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from resnet.commands.options import artifacts_of
from resnet.inventory import KnownRun, read_inventory, run_in_words
from resnet.progress import time_text
from resnet.text_table import text_table

COLUMNS: dict[str, Callable[[KnownRun], Any]] = {
    "run": lambda run: run.name,
    "recipe": lambda run: run.settings.recipe or None,
    "state": lambda run: run_in_words(run.state),
    "top1_error": lambda run: run.scores[0].top1_error if run.scores else None,
    "validation_error": lambda run: run.training.validation_error,
    "depth": lambda run: run.settings.depth,
    "image_size": lambda run: run.settings.image_size,
    "epoch": lambda run: run.training.epoch,
    "epochs": lambda run: run.settings.epochs,
    "seconds": lambda run: run.training.seconds,
    "active": lambda run: run.last_activity.isoformat() if run.last_activity.year > 1 else None,
}


def main(options: argparse.Namespace) -> None:
    """Print the table, or JSON."""
    artifacts, column = artifacts_of(options), options.sort
    runs = [{name: value(run) for name, value in COLUMNS.items()} for run in read_inventory(artifacts).runs]
    known = sorted((run for run in runs if run[column] is not None), key=lambda run: run[column])
    if column == "active":  # the newest first
        known.reverse()
    runs = known + [run for run in runs if run[column] is None]
    if options.json:
        print(json.dumps(runs, indent=1))
    elif runs:
        print("\n".join(_table(runs)))
    else:
        print(f"there are no runs in {artifacts / 'runs'}")


def _table(runs: list[dict[str, Any]]) -> list[str]:
    rows = [list(COLUMNS), *([_text(name, value) for name, value in run.items()] for run in runs)]
    numbers = [n for n, name in enumerate(COLUMNS) if not any(isinstance(run[name], str) for run in runs)]
    return text_table(rows, right=numbers)


def _text(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if name in ("top1_error", "validation_error"):
        return f"{value:.2f} %"
    if name == "seconds":
        return time_text(value)
    if name == "active":
        return value[:16].replace("T", " ")
    return f"{value:.4g}" if isinstance(value, float) else str(value)

"""Report: one self-contained page about the run and its results, and its figures as PNG files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from resnet.files import atomic, make_folder
from resnet.ledger import Attempt
from resnet.report import figures
from resnet.report.page import Results, render
from resnet.run import Run
from resnet.stage_table import STAGES

logger = logging.getLogger(__name__)


def main(run: Run, attempt: Attempt) -> None:
    """Draw the figures, and write the page."""
    attempt.begin()
    ledger = attempt.ledger
    if log_has_changed := ledger.has_changed("train", "log.jsonl"):
        logger.warning("%s has changed since training", run.stage_folder("train") / "log.jsonl")
    results = Results(run, {name: ledger.finished(name) for name in STAGES["report"].inputs}, log_has_changed)
    pictures = draw(results, attempt.folder / "figures")
    page = attempt.folder / "report.html"
    with atomic(page, "w") as file:
        file.write(render(results, pictures))
    attempt.finish([page, *pictures.values()])
    print(f"report: {page}")


def draw(results: Results, folder: Path) -> dict[str, Path]:
    """The figures by name, without those that this run has nothing to show in."""
    make_folder(folder)
    run, predictions = results.run, results.predictions
    plans: dict[str, Callable[[Path], bool]] = {
        "curves": lambda path: not results.imported and figures.curves(results.log, path),
        "published": lambda path: figures.published(results.metrics, results.comparable(), path),
        "augmented": lambda path: not results.imported and figures.augmented_images(run, path),
        "confusion": lambda path: figures.confusion_matrix(predictions, path),
        "mistakes": lambda path: figures.mistakes(run, predictions, path),
    }
    return {name: path for name, draw_into in plans.items() if draw_into(path := folder / f"{name}.png")}

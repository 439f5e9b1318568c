"""Report: one self-contained page about the run and its results, also as Markdown and JSON; its figures and tables."""

from __future__ import annotations

import logging
from pathlib import Path

from resnet.analysis.near_duplicates import NearDuplicates
from resnet.analysis.tables import write_tables
from resnet.files import atomic, make_folder
from resnet.ledger import Attempt
from resnet.report.answer_figures import calibration_figures, statistics_figure
from resnet.report.class_figures import class_figures, confusion_figure
from resnet.report.content import Content, as_json, content_of
from resnet.report.curves import how_to_read, training_figures
from resnet.report.galleries import Gallery, duplicates_gallery, seen_in_training, validation_gallery
from resnet.report.graph import finished_tasks, graph
from resnet.report.page import Drawings, render, render_markdown
from resnet.report.results import Results
from resnet.report.tables import Analysis
from resnet.run import Run
from resnet.stage_table import STAGES

logger = logging.getLogger(__name__)


def main(run: Run, attempt: Attempt) -> None:
    """Analyse the answers, draw the figures, and write the page."""
    attempt.begin()
    ledger = attempt.ledger
    if log_has_changed := ledger.has_changed("train", "log.jsonl"):
        logger.warning("%s has changed since training", run.stage_folder("train") / "log.jsonl")
    results = Results(run, {name: ledger.finished(name) for name in STAGES["report"].inputs}, log_has_changed)
    analysis = Analysis.of(results)
    content = content_of(results, analysis)
    drawings = draw(results, analysis, content)
    written = write_tables(attempt.folder, analysis.tables())
    written += write_pages(attempt.folder, content, drawings) + write_figures(attempt.folder / "figures", drawings)
    attempt.finish(written)
    print(f"report: {attempt.folder / 'report.html'}")


def draw(results: Results, analysis: Analysis, content: Content) -> Drawings:
    """The figures and galleries, without those that this run has nothing to show in."""
    statistics = content.statistics
    return Drawings(
        training=training_figures(results.log, content.course),
        classes=class_figures(analysis.classes, content.classes),
        confusion=confusion_figure(results.images, results.names, content.classes),
        calibration=calibration_figures(analysis.calibration, results.images.confidence),
        statistics=statistics_figure(statistics.rows, statistics.sentence) if statistics else None,
        graph=graph(finished_tasks(results)),
        curves_note=how_to_read(results.log, content.course) if content.course else "",
        galleries={gallery.name: gallery for gallery in galleries(results, analysis, content)},
    )


def galleries(results: Results, analysis: Analysis, content: Content) -> list[Gallery]:
    """The images that the page shows."""
    run, images, found = results.run, len(results.images), []
    if not results.imported:
        found.append(seen_in_training(run, results.names))
    if content.mistakes.shown:
        found.append(validation_gallery("mistakes", run, content.mistakes, images, taken="taken for"))
    if content.label_errors.shown:
        found.append(validation_gallery("label_errors", run, content.label_errors, images, taken="rather"))
    if content.duplicates and content.duplicates.shown and isinstance(analysis.duplicates, NearDuplicates):
        found.append(duplicates_gallery(run, content.duplicates.shown, analysis.duplicates.places))
    return found


def write_pages(folder: Path, content: Content, drawings: Drawings) -> list[Path]:
    """Write the three forms of the content; returns their paths."""
    pages = {
        "report.html": render(content, drawings),
        "report.md": render_markdown(content),
        "report.json": as_json(content),
    }
    for name, text in pages.items():
        with atomic(folder / name, "w") as file:
            file.write(text)
    return [folder / name for name in pages]


def write_figures(folder: Path, drawings: Drawings) -> list[Path]:
    """Write the figures as SVG and the galleries as PNG, for slides and papers; returns their paths."""
    make_folder(folder)
    paths = []
    for figure in drawings.figures():
        paths.append(folder / f"{figure.name}.svg")
        with atomic(paths[-1], "w") as file:
            file.write(figure.svg)
    return paths + [gallery.write_sheet(folder / f"{gallery.name}.png") for gallery in drawings.galleries.values()]

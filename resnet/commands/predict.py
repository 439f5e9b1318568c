"""Classify images: of files, of folders, or from standard input, with a finished run."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import cv2
from tqdm import tqdm

from resnet.commands.image_arguments import sources_of
from resnet.commands.options import finished_run
from resnet.commands.prediction_lines import csv_header, csv_line, json_line, printable, text_line
from resnet.console import require_output
from resnet.errors import UserError
from resnet.stages import without_startup_notes

if TYPE_CHECKING:
    from resnet.classifier import Prediction

logger = logging.getLogger("resnet.predict")  # which messages begin with: the name of the command


def main(options: argparse.Namespace) -> None:
    """Print a line for each image. Raises UserError at the end if some could not be read."""
    if options.top < 1 or options.workers < 0:
        raise UserError("--top must be at least 1, and --workers cannot be negative")
    folder = finished_run(options)
    with without_startup_notes():
        from resnet.classifier import load_classifier
    classifier = load_classifier(folder)
    cv2.setNumThreads(1)  # the threads that decode are enough
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # each error is told with its file
    ignored: Counter[str] = Counter()
    predictions = classifier.stream(sources_of(options.images, ignored), options.top, options.workers)
    images, unreadable = _print_all(predictions, options, min(options.top, len(classifier.classes)))
    if ignored:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in ignored.most_common())
        logger.info("ignored files that are no images: %s", kinds)
    if unreadable:
        raise UserError(f"{unreadable:,} of {images:,} images could not be read")


def _print_all(predictions: Iterator[Prediction], options: argparse.Namespace, places: int) -> tuple[int, int]:
    """Print predictions until there are no more, or nobody reads; returns how many, and how many errors among them."""
    # Any encoding of a terminal can show what it lacks by its code.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    line = _line_of(options, places)
    images = unreadable = 0
    if options.csv:
        print(csv_header(places))
    answers_are_seen = sys.stdout.isatty() or not sys.stderr.isatty()
    with tqdm(desc="predicting", unit=" images", mininterval=0.5, disable=answers_are_seen) as bar:
        for prediction in predictions:
            images, unreadable = images + 1, unreadable + bool(prediction.error)
            if prediction.warning:
                logger.warning("%s: %s", printable(prediction.file or ""), printable(prediction.warning))
            if prediction.error and not (options.json or options.csv):
                logger.error("%s: %s", printable(prediction.file or ""), printable(prediction.error))
            else:
                print(line(prediction))
            bar.update()
            if not require_output():
                break
    return images, unreadable


def _line_of(options: argparse.Namespace, places: int) -> Callable[[Prediction], str]:
    if options.json:
        return json_line
    if options.csv:
        return lambda prediction: csv_line(prediction, places)
    columns = shutil.get_terminal_size().columns
    return lambda prediction: text_line(prediction, columns)

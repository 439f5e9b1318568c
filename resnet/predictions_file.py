"""The predictions of a run as a table. A row is an image: file, label, the likeliest classes, their probabilities.

It is CSV in UTF-8, except that names which are not UTF-8 stand in it as the bytes they are. Classes are written by
their identifiers. Where the network answered NaN, the probabilities are empty.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from resnet.errors import UserError
from resnet.files import atomic

LONGEST = 200  # characters of a damaged file in a message


def predictions_name(view: str, views: Sequence[str]) -> str:
    """The name of the file of a view, one of evaluation.views: the first one's has no addition."""
    return "predictions.csv" if view == views[0] else f"predictions-{view}.csv"


def write_predictions(
    path: Path,
    filenames: Sequence[str],
    labels: np.ndarray,
    likeliest: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[tuple[str, str]],
) -> Path:
    """Write the table; returns the path. `labels` [n] and `likeliest` [n, places] count classes from 0."""
    names = [_field(identifier) for identifier, _ in classes]
    rows = zip(filenames, labels.tolist(), likeliest.tolist(), probabilities.round(6).tolist(), strict=True)
    with atomic(path, "w") as file:
        file.write(",".join(_columns(likeliest.shape[1])) + "\n")
        for filename, label, places, values in rows:
            numbers = ["" if math.isnan(value) else str(value) for value in values]
            pairs = zip((names[place] for place in places), numbers, strict=True)
            file.write(",".join([_field(filename), names[label], *chain.from_iterable(pairs)]) + "\n")
    return path


def read_predictions(path: Path, classes: Collection[str]) -> pd.DataFrame:
    """The table; names of files and classes are text, even where they look like numbers.

    Raises UserError if it is missing or damaged, or names a class that is not among the identifiers `classes`.
    """
    rows = []
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            lines = csv.reader(file, strict=True)
            columns = next(lines, [])
            if columns != _columns((len(columns) - 2) // 2) or len(columns) < 4:
                found = ", ".join(columns)[:LONGEST]
                raise ValueError(f"its columns are {found!r}, not file, label, class1, probability1 ...")
            for row in lines:
                rows.append(_values(row, len(columns), classes, lines.line_num))
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path} cannot be read: {reason}. Delete it: then `luigi` runs Evaluate again.") from None
    table = pd.DataFrame(rows, columns=columns, dtype=object)
    return table.astype({name: float for name in columns if name.startswith("probability")})


def _columns(places: int) -> list[str]:
    pairs = ((f"class{place}", f"probability{place}") for place in range(1, places + 1))
    return ["file", "label", *chain.from_iterable(pairs)]


def _field(text: str) -> str:
    """Text as a field of CSV. (Python's writer leaves a carriage return as it is, and no reader takes that.)"""
    return '"' + text.replace('"', '""') + '"' if any(character in text for character in ',"\r\n') else text


def _values(row: list[str], width: int, classes: Collection[str], line: int) -> list[str | float]:
    """A row's names and numbers. Raises ValueError if one cannot be right."""
    if len(row) != width:
        raise ValueError(f"line {line} has {len(row)} fields, not {width}")
    if unknown := [name for name in (row[1], *row[2::2]) if name not in classes]:
        raise ValueError(f"line {line} has the class {unknown[0][:LONGEST]!r}, which the records do not have")
    for text in row[3::2]:
        if not _is_probability(text):
            raise ValueError(f"line {line} has {text[:LONGEST]!r} where a probability should be")
    values: list[str | float] = [*row]
    values[3::2] = [float(text or "nan") for text in row[3::2]]
    return values


def _is_probability(text: str) -> bool:
    try:
        return not text or 0 <= float(text) <= 1
    except ValueError:
        return False

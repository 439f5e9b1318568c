"""Predictions as lines: for people, as JSON, as CSV. One line an image, whatever is in its name.

Names may hold any bytes. What does not print (ends of lines, escape sequences of terminals, bytes that are not UTF-8)
is written by its code, as in Python: "\\\\x1b". So a backslash is written twice, and no two names look the same.
"""

from __future__ import annotations

import csv
import io
import json
import math
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it imports TensorFlow
    from resnet.classifier import Answer, Prediction

FILE_COLUMNS = 24  # at least, so that short names make a table
NAME_COLUMNS = 24  # of a class, at most
CUT = "…"


def printable(text: str) -> str:
    """The text with what does not print, and the backslash, by its code."""
    return "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in text)


def text_line(prediction: Prediction, columns: int) -> str:
    """File, then the likeliest classes with their probabilities, as many as fit on a line of so many columns.

    At least one does. Of a class with several names, such as "tench, Tinca tinca", the first is shown.
    """
    file = _cut_left(printable(prediction.file or ""), columns // 2)
    line = file + " " * (FILE_COLUMNS - width(file))
    for place, answer in enumerate(prediction.top):
        name = _cut(printable(answer.name.split(", ")[0]), NAME_COLUMNS)
        more = f"   {name} {answer.probability:.2f}"
        if place and width(line) + width(more) > columns:
            break
        line += more
    return line


def json_line(prediction: Prediction) -> str:
    """An object in ASCII: {"file": ..., "top": [{"class": ..., "name": ..., "probability": ...}, ...]}.

    Instead of "top" it has "error" where the image could not be read. Bytes of a name that are not UTF-8 are "\\udc80"
    to "\\udcff", as Python reads and writes them.
    """
    values: dict[str, object] = {"file": prediction.file}
    if prediction.error:
        values["error"] = prediction.error
    else:
        values["top"] = [
            {"class": answer.identifier, "name": answer.name, "probability": _rounded(answer)}
            for answer in prediction.top
        ]
    return json.dumps(values, allow_nan=False)


def csv_header(places: int) -> str:
    """The columns of CSV with so many classes an image."""
    columns = (f"{column}{place}" for place in range(1, places + 1) for column in ("class", "name", "probability"))
    return _csv(["file", *columns, "error"])


def csv_line(prediction: Prediction, places: int) -> str:
    """A row: what is not known is empty."""
    row: list[object] = [printable(prediction.file or "")]
    for answer in prediction.top:
        row += [printable(answer.identifier), printable(answer.name), _rounded(answer)]
    return _csv([*row, *[""] * (1 + 3 * places - len(row)), printable(prediction.error)])


def width(text: str) -> int:
    """The columns of a terminal that a text takes: two for wide characters, none for those on top of others."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def _cut(text: str, columns: int) -> str:
    """The text, or as much of its beginning as fits, and at least one character."""
    if width(text) <= columns:
        return text
    left, shown = columns - len(CUT), ""
    for character in text:
        left -= width(character)
        if left < 0 and shown:
            break
        shown += character
    return shown + CUT


def _cut_left(text: str, columns: int) -> str:
    """The same of the end, because the end of a path says more than its beginning."""
    return _cut(text[::-1], columns)[::-1]


def _rounded(answer: Answer) -> float | None:
    """As in predictions.csv; None where the network answered NaN."""
    return None if math.isnan(answer.probability) else round(answer.probability, 6)


def _csv(row: list[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(row)
    return line.getvalue()

"""Numbers as the report writes them, on the page as in its other files."""

from __future__ import annotations

from collections.abc import Sequence


def count(number: int, noun: str, plural: str = "") -> str:
    """ "1 epoch", "40 epochs"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def percent(value: float) -> str:
    """A percentage with two decimals."""
    return f"{value:.2f} %"


def between(interval: Sequence[float]) -> str:
    """An interval of percentages: "0.43 to 2.83 %"."""
    low, high = interval
    return f"{low:.2f} to {high:.2f} %"


def listed(words: Sequence[object]) -> str:
    """ "20, 30 and 36"."""
    *first, last = map(str, words)
    return f"{', '.join(first)} and {last}" if first else last


def short(digest: str | None) -> str:
    """The first characters of a digest: enough to tell two apart by eye."""
    return digest[:16] if digest else "not known"

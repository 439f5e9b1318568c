"""A table as lines of text."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def text_table(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """The rows, of the same length, in columns. `right`: the columns whose texts end under each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        aligned = (f"{text:{'>' if n in right else '<'}{widths[n]}}" for n, text in enumerate(row))
        return "  ".join(aligned).rstrip()

    return [line(row) for row in rows]

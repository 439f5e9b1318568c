"""Names from the data, as the page and the figures can show them. They are shown so, never compared so."""

from __future__ import annotations

import re

# Control characters other than tab and newline, and surrogates: bytes of a name that are not UTF-8.
UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def readable(text: str) -> str:
    """The text with U+FFFD in place of what cannot be shown. It can be encoded as UTF-8."""
    return UNSHOWABLE.sub("\ufffd", text)


def one_line(text: str, most: int) -> str:
    """The readable text on one line of at most `most` characters."""
    line = " ".join(readable(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"

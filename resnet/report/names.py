"""Names from the data, as the page and the figures can show them. They are shown so, never compared so."""

from __future__ import annotations

import re

# Control characters other than tab and newline; those that turn the direction of the text after a name; surrogates,
# which are bytes of a name that are not UTF-8; and what XML has no place for.
UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
MARKUP = re.compile(r"[\\`*_{}\[\]<>#|~&$@^!]|:(?=\S)")


def readable(text: str) -> str:
    """The text with U+FFFD in place of what cannot be shown. It can be encoded as UTF-8."""
    return UNSHOWABLE.sub("\ufffd", text)


def one_line(text: str, most: int) -> str:
    """The readable text on one line of at most `most` characters."""
    line = " ".join(readable(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def first_name(name: str) -> str:
    """The first of the synonyms that ImageNet's names list."""
    return name.split(",")[0]


def as_markdown(text: object) -> str:
    """Text on one line, so that Markdown shows it as it is."""
    return MARKUP.sub(r"\\\g<0>", " ".join(readable(str(text)).split()))

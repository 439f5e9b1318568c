"""The images that a command is given: files, folders, and what comes through standard input."""

from __future__ import annotations

import io
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from resnet.datasets.listing import walk_images
from resnet.errors import UserError
from resnet.images.kinds import HEAD, kind_of
from resnet.loader.files import ImageFile, ImageStream, Missing, Source

STANDARD_INPUT = "-"
BLOCK = 1 << 16  # bytes


def sources_of(arguments: Iterable[str], ignored: Counter[str]) -> Iterator[Source]:
    """The images that the arguments name, in their order, each argument at least one; those that cannot be found too.

    Counts in `ignored` the files of folders that are no images, by kind. Raises UserError for a second "-": an image
    from standard input is read while later arguments are looked at.
    """
    arguments = list(arguments)
    if arguments.count(STANDARD_INPUT) > 1:
        raise UserError("standard input can be read once: give - once")
    for argument in arguments:
        if argument == STANDARD_INPUT:
            yield from _from_standard_input(ignored)
        else:
            yield from _named(argument, ignored)


def _named(name: str, ignored: Counter[str]) -> Iterator[Source]:
    """The image of this name, or those in the folder of this name."""
    if not os.path.isdir(name):
        yield ImageFile(name)
        return
    is_empty = True
    for found in walk_images(Path(name)):
        path = os.path.join(name, found.path)
        if found.ignored:
            ignored[found.ignored] += 1
            continue
        is_empty = False
        yield Missing(path, str(found.error)) if found.error else ImageFile(path)
    if is_empty:
        yield Missing(name, "there is no image in this folder")


def _from_standard_input(ignored: Counter[str]) -> Iterator[Source]:
    """One image, if it begins like one; else the files and folders that it lists."""
    stream = sys.stdin.buffer if sys.stdin else io.BytesIO()  # it may be closed
    head = _beginning(stream)
    if not head:
        yield Missing(STANDARD_INPUT, "standard input is empty")
    elif kind_of(head):
        yield ImageStream(STANDARD_INPUT, head, stream)
    else:
        for name in _names(head, stream):
            yield from _named(os.fsdecode(name), ignored)


def _beginning(stream: BinaryIO) -> bytes:
    """Enough of a stream to tell an image from a list, without waiting for more than its first names."""
    head = b""
    while len(head) < HEAD and not (head.endswith((b"\n", b"\0")) and not kind_of(head)):
        more = stream.read1(BLOCK)  # type: ignore[attr-defined]
        if not more:
            break
        head += more
    return head


def _names(head: bytes, stream: BinaryIO) -> Iterator[bytes]:
    """The names in a list. They end with NUL where the first ones do (`find -print0`), else with the end of a line."""
    end, rest = b"\0" if b"\0" in head else b"\n", head
    while True:
        *names, rest = rest.split(end)
        yield from filter(None, names)
        if len(rest) > BLOCK:
            raise UserError("standard input is neither an image of a known kind nor a list of file names")
        more = stream.read1(BLOCK)  # type: ignore[attr-defined]
        if not more:
            break
        rest += more
    if rest:
        yield rest

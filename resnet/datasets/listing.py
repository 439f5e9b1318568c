"""Which files of a folder are its images.

A file is an image if its name ends like an image's, or if its first bytes are an image's signature. A system's own
files (Thumbs.db, __MACOSX), files of another kind, and what is no regular file are ignored; they are listed with their
kind. Names that begin with a dot are skipped. Folders inside are searched, and links are followed.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from resnet.datasets.source import FileNames, Ignored, open_regular
from resnet.errors import UserError
from resnet.images.kinds import HEAD, SUFFIXES, kind_of

SYSTEM_FILES = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini"))  # in small letters
SYSTEM_FOLDERS = frozenset(("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"))
PLAIN_SUFFIX = re.compile(r"\.[a-z0-9]{1,10}")
SYSTEM, NOT_REGULAR, BROKEN_LINK = "system file", "not a regular file", "broken link"
OUTSIDE = "outside the class folders"


class Listing(NamedTuple):
    """Paths relative to a folder: its images, and what is ignored, with its kind."""

    images: list[str]
    ignored: list[tuple[str, str]]


class Found(NamedTuple):
    """What is at a path: an image, unless it is ignored, or cannot be looked at; or a folder that cannot be listed."""

    path: str  # relative to the folder
    ignored: str = ""  # its kind
    error: UserError | None = None


class _Visit(NamedTuple):
    """A folder to list: its path from the first one, the folders that it is in, and the last link on the way to it."""

    relative: str
    ancestors: frozenset[tuple[int, int]]  # device and inode
    link: str


def list_images(folder: Path) -> Listing:
    """List a folder, sorted, the files of a folder before those of the folders inside it.

    Raises UserError for a folder that cannot be read, or that contains itself by a link.
    """
    listing = Listing([], [])
    for found in walk_images(folder):
        if found.error:
            raise found.error
        if found.ignored:
            listing.ignored.append((found.path, found.ignored))
        else:
            listing.images.append(found.path)
    return listing


def walk_images(folder: Path) -> Iterator[Found]:
    """What `list_images` lists, in its order, one by one; what cannot be listed is an error among the others."""
    waiting = [_Visit("", frozenset(), "")]
    while waiting:
        visit = waiting.pop()
        inside = []
        try:
            ancestors = visit.ancestors | {_identity(folder / visit.relative, visit)}
            found = entries(folder / visit.relative)
        except UserError as error:
            yield Found(visit.relative, error=error)
            continue
        for entry in found:
            relative = os.path.join(visit.relative, entry.name)
            if is_folder(entry) and entry.name not in SYSTEM_FOLDERS:
                link = entry.path if entry.is_symlink() else visit.link
                inside.append(_Visit(relative, ancestors, link))
            else:
                yield _found(relative, entry)
        waiting += reversed(inside)


def _found(relative: str, entry: os.DirEntry[str]) -> Found:
    try:
        return Found(relative, ignored_kind(entry))
    except UserError as error:
        return Found(relative, error=error)


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, sorted by name, without names that begin with a dot. Raises UserError."""
    try:
        with os.scandir(folder) as found:
            return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be listed: {error.strerror}. Make the folder readable, or move it away."
        ) from None


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether this is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere
        return False


def class_names(folder: Path) -> list[str]:
    """The names of the class folders, sorted. A class's label is its position among them."""
    return [entry.name for entry in entries(folder) if is_folder(entry) and entry.name not in SYSTEM_FOLDERS]


def outside_classes(folder: Path) -> Iterator[tuple[str, str]]:
    """What is ignored beside the class folders of `folder`: name and kind."""
    for entry in entries(folder):
        if not is_folder(entry) or entry.name in SYSTEM_FOLDERS:
            kind = ignored_kind(entry)
            yield entry.name, SYSTEM if kind == SYSTEM else OUTSIDE


def ignored_kind(entry: os.DirEntry[str]) -> str:
    """The kind of a file that is no image; empty for an image, or for what has the name of one.

    A file that cannot be opened may be an image, and conversion says why it cannot be read.
    """
    if entry.name in SYSTEM_FOLDERS or entry.name.lower() in SYSTEM_FILES:
        return SYSTEM
    suffix = os.path.splitext(entry.name)[1].lower()
    try:
        if not entry.is_file():
            entry.stat()  # raises an error where a link is broken
            return NOT_REGULAR
    except OSError as error:
        if suffix in SUFFIXES:
            return ""
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return BROKEN_LINK
        raise UserError(
            f"{entry.path} cannot be looked at: {error.strerror}. Make it readable, or remove it."
        ) from None
    if suffix in SUFFIXES or _begins_like_an_image(Path(entry.path)):
        return ""
    return f"{suffix} file" if PLAIN_SUFFIX.fullmatch(suffix) else "other file"


def add_ignored(ignored: Ignored, found: Iterable[tuple[str, str]], folder: str = "") -> None:
    """Add names, which are relative to `folder`, with their kinds."""
    for name, kind in found:
        ignored.setdefault(kind, FileNames()).extend([os.path.normpath(os.path.join(folder, name))])


def _begins_like_an_image(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return bool(kind_of(file.read(HEAD)))
    except OSError:
        return True


def _identity(path: Path, visit: _Visit) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path} cannot be listed: {error.strerror}. Make the folder readable.") from None
    identity = status.st_dev, status.st_ino
    if identity in visit.ancestors:
        link = visit.link or path
        raise UserError(f"{link} is a link to a folder that it is in, so listing it would not end. Remove the link.")
    return identity

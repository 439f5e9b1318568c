"""Which images a command is given."""

from __future__ import annotations

import io
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from resnet.commands.image_arguments import sources_of
from resnet.datasets.listing import list_images
from resnet.errors import UserError
from resnet.loader.files import ImageFile, ImageStream, Missing


def listed(*arguments: str) -> list[object]:
    return list(sources_of(arguments, Counter()))


@pytest.fixture
def given(monkeypatch):
    """given(b"..."): what comes through standard input."""

    def give(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return give


def test_a_folder_is_listed_as_conversion_lists_it_and_ignored_files_are_counted(photographs, tmp_path):
    for name in ("notes.txt", "more.txt", "Thumbs.db", ".hidden"):
        (tmp_path / name).write_text("no image")
    (tmp_path / "inside").symlink_to(photographs)
    ignored: Counter[str] = Counter()
    found = list(sources_of([str(tmp_path)], ignored))
    assert found == [ImageFile(f"{tmp_path}/{name}") for name in list_images(tmp_path).images]
    assert len(found) == 39
    assert ignored == {".txt file": 2, "system file": 1}


def test_a_file_is_taken_whatever_its_name_and_a_missing_one_too(tmp_path):
    (tmp_path / "notes.txt").touch()
    names = [str(tmp_path / "notes.txt"), "missing", ""]
    assert listed(*names) == [ImageFile(name) for name in names]


def test_what_cannot_be_listed_keeps_its_place_among_the_others(tmp_path, monkeypatch):
    for name in ("a/1.jpg", "locked/2.jpg", "z/3.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    first, locked, last = listed(str(tmp_path))
    assert (first, last) == (ImageFile(f"{tmp_path}/a/1.jpg"), ImageFile(f"{tmp_path}/z/3.jpg"))
    assert locked.file == f"{tmp_path}/locked"
    assert "cannot be listed: Permission denied" in locked.error


def test_names_from_standard_input_end_with_their_lines_or_with_nul(given):
    for content, names in (
        (b"a.jpg\nb c.jpg\n\nlast", ["a.jpg", "b c.jpg", "last"]),
        (b"a\n1.jpg\0b.jpg\0", ["a\n1.jpg", "b.jpg"]),
        (b"bad\xff.jpg\n", ["bad\udcff.jpg"]),
        (b"-\n", ["-"]),
        (b"n" * 300 + b"\n", ["n" * 300]),
    ):
        given(content)
        assert listed("-") == [ImageFile(name) for name in names]


def test_folders_that_standard_input_names_are_listed(given, photographs):
    given(f"{photographs}/zebra_finch\n".encode())
    assert len(listed("-")) == 5


def test_what_begins_like_an_image_is_one_whatever_its_kind(given, image_files):
    for kind, content in image_files.items():
        given(content)
        (source,) = listed("-")
        assert isinstance(source, ImageStream), kind
        assert source.head + source.stream.read() == content


def test_standard_input_that_is_empty_or_closed_is_an_error_of_its_own(given, monkeypatch):
    given(b"")
    assert listed("-", "a.jpg") == [Missing("-", "standard input is empty"), ImageFile("a.jpg")]
    monkeypatch.setattr(sys, "stdin", None)
    assert listed("-") == [Missing("-", "standard input is empty")]


def test_standard_input_is_read_once(given):
    given(b"a.jpg")
    with pytest.raises(UserError, match="give - once"):
        listed("-", "b.jpg", "-")


def test_what_is_neither_an_image_nor_names_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(NoNames())))
    with pytest.raises(UserError, match="neither an image of a known kind nor a list"):
        listed("-")


def test_the_first_name_comes_before_the_last_one_is_written(monkeypatch):
    reading, writing = os.pipe()
    with open(reading) as pipe, open(writing, "wb", buffering=0) as writer:
        monkeypatch.setattr(sys, "stdin", pipe)
        sources = sources_of(["-"], Counter())
        writer.write(b"a.jpg\n")
        assert next(sources) == ImageFile("a.jpg")
        writer.write(b"b.jpg\n")
        assert next(sources) == ImageFile("b.jpg")


class NoNames(io.RawIOBase):
    """The same letter without end."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        buffer[:] = b"x" * len(buffer)
        return len(buffer)

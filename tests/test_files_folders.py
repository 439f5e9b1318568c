"""Folders that are written whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resnet.files import atomic_folder

# Writes a folder, and is killed in the middle of it, or between the two renames that put it in place.
KILLED = """
import os, signal, sys
from pathlib import Path
from resnet.files import atomic_folder

path, rename = Path(sys.argv[1]), Path.rename

def rename_and_die(source, target):
    rename(source, target)
    os.kill(os.getpid(), signal.SIGKILL)

with atomic_folder(path) as folder:
    (folder / "model").write_text("new")
    if sys.argv[2] == "while it writes":
        os.kill(os.getpid(), signal.SIGKILL)
    Path.rename = rename_and_die
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder that is there, with a file and a folder in it."""
    (tmp_path / "made" / "deep").mkdir(parents=True)
    (tmp_path / "made" / "model").write_text("earlier")
    return tmp_path / "made"


def write_again(folder: Path) -> None:
    with atomic_folder(folder) as temporary:
        (temporary / "model").write_text("again")


def test_a_folder_appears_only_when_the_block_ends(tmp_path):
    with atomic_folder(tmp_path / "parent" / "new") as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "file").write_text("text")
        assert not (tmp_path / "parent" / "new").exists()
    assert (tmp_path / "parent" / "new" / "deep" / "file").read_text() == "text"
    assert os.listdir(tmp_path / "parent") == ["new"]


def test_the_earlier_folder_is_replaced_whole(folder):
    with atomic_folder(folder) as temporary:
        (temporary / "other").write_text("new")
        assert (folder / "model").read_text() == "earlier"
    assert os.listdir(folder) == ["other"]
    assert os.listdir(folder.parent) == ["made"]


@pytest.mark.parametrize("kind", ["link", "broken link", "file"])
def test_what_a_user_has_put_in_its_place_is_replaced_and_what_a_link_leads_to_stays(folder, kind):
    place = folder.with_name("place")
    if kind == "file":
        place.write_text("a user's")
    else:
        place.symlink_to(folder if kind == "link" else "nowhere")
    for _ in range(2):
        write_again(place)
        assert (place / "model").read_text() == "again"
        assert not place.is_symlink()
    assert (folder / "model").read_text() == "earlier"
    assert sorted(os.listdir(folder.parent)) == ["made", "place"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_only_the_earlier_folder_remains_when_the_block_raises(folder, error):
    def write_half():
        with atomic_folder(folder) as temporary:
            (temporary / "model").write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert (folder / "model").read_text() == "earlier"
    assert os.listdir(folder.parent) == ["made"]


def test_the_earlier_folder_goes_back_when_the_new_one_cannot_take_its_place(folder, monkeypatch):
    rename = Path.rename

    def refuse(source, target):
        if source.name.endswith(".partial"):
            raise PermissionError("no")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        write_again(folder)
    assert (folder / "model").read_text() == "earlier"
    assert os.listdir(folder.parent) == ["made"]


@pytest.mark.parametrize("when", ["while it writes", "between two renames"])
def test_a_killed_writer_loses_nothing_and_does_not_block_the_next_one(folder, when):
    ended = subprocess.run([sys.executable, "-c", KILLED, str(folder), when])
    assert ended.returncode < 0
    if when == "while it writes":
        assert (folder / "model").read_text() == "earlier"
    with pytest.raises(ZeroDivisionError), atomic_folder(folder):
        raise ZeroDivisionError
    assert (folder / "model").read_text() == "earlier"
    assert os.listdir(folder.parent) == ["made"]
    write_again(folder)
    assert (folder / "model").read_text() == "again"
    assert os.listdir(folder.parent) == ["made"]

"""Atomic writes, checksums and folders."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resnet.errors import UserError
from resnet.files import atomic, make_folder, remove_abandoned, remove_leftovers, sha256, temporary_name

DIE_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from resnet.files import atomic
with atomic(Path(sys.argv[1])) as file:
    file.write(b"half of the new conte")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_and_raise(path: Path, error: BaseException | type[BaseException]) -> None:
    with atomic(path) as file:
        file.write(b"new")
        file.flush()
        raise error


def test_a_file_appears_only_when_the_block_ends(tmp_path):
    path = tmp_path / "file"
    with atomic(path) as file:
        file.write(b"content")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"content"
    assert entries(tmp_path) == ["file"]


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a much longer old content")
    with atomic(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"a much longer old content"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_only_the_old_file_remains_when_the_block_raises(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error):
        write_and_raise(path, error)
    assert path.read_bytes() == b"old"
    assert entries(tmp_path) == ["file"]


def test_no_file_remains_when_the_first_write_raises(tmp_path):
    with pytest.raises(ValueError, match="disk"):
        write_and_raise(tmp_path / "file", ValueError("disk"))
    assert entries(tmp_path) == []


def test_writing_over_a_folder_fails_names_it_and_leaves_no_temporary_file(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError) as caught, atomic(tmp_path / "file") as file:
        file.write(b"new")
    assert caught.value.filename == str(tmp_path / "file")
    assert entries(tmp_path) == ["file"]


def test_the_old_file_stays_when_the_writer_is_killed(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    ended = subprocess.run([sys.executable, "-c", DIE_WHILE_WRITING, str(path)])
    assert ended.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_a_killed_writer_leaves_a_hidden_file_that_does_not_block_the_next_write(tmp_path):
    path = tmp_path / "file"
    subprocess.run([sys.executable, "-c", DIE_WHILE_WRITING, str(path)])
    assert all(name.startswith(".") for name in entries(tmp_path))
    with atomic(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_a_file_system_that_cannot_sync_folders_will_do(tmp_path, monkeypatch):
    sync = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr("os.fsync", files_only)
    with atomic(tmp_path / "file") as file:
        file.write(b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic(tmp_path / "file"):
        (tmp_path / "missing").read_bytes()
    assert caught.value.filename == str(tmp_path / "missing")


def test_temporary_names_differ_between_hosts_processes_and_calls(tmp_path, monkeypatch):
    names = set()
    for host in ("one", "two"):
        monkeypatch.setattr("platform.node", lambda host=host: host)
        for process in (7, 8):
            monkeypatch.setattr("os.getpid", lambda process=process: process)
            names |= {temporary_name(tmp_path / "file").name for _ in range(3)}
    assert len(names) == 12
    assert {name.split(".")[2].rpartition("-")[0] for name in names} == {"one-7", "one-8", "two-7", "two-8"}


def test_where_others_may_be_writing_only_what_is_abandoned_is_removed(tmp_path):
    page, hour = tmp_path / "index.html", 3600
    of_the_dead = tmp_path / f".index.html.{platform.node()}-{2**40}-ab.partial"
    of_the_living = temporary_name(page)
    of_another_host, of_another_host_long_ago = (tmp_path / f".index.html.far-away-{n}-ab.partial" for n in (1, 2))
    of_another_file = tmp_path / f".other.html.{platform.node()}-{2**40}-ab.partial"
    for path in (of_the_dead, of_the_living, of_another_host, of_another_host_long_ago, of_another_file):
        path.touch()
    os.utime(of_another_host_long_ago, times=(0, time.time() - 2 * hour))
    remove_abandoned(page)
    assert entries(tmp_path) == sorted(path.name for path in (of_the_living, of_another_host, of_another_file))


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path):
    (tmp_path / "deep").mkdir()
    subprocess.run([sys.executable, "-c", DIE_WHILE_WRITING, str(tmp_path / "deep" / "file")])
    (tmp_path / ".hidden").touch()
    remove_leftovers(tmp_path)
    assert entries(tmp_path) == [".hidden", "deep"]
    assert entries(tmp_path / "deep") == []


def test_text_is_written_as_utf_8(tmp_path):
    with atomic(tmp_path / "file", "w") as file:
        file.write("Fünfzig 狗\n")
    assert (tmp_path / "file").read_bytes() == "Fünfzig 狗\n".encode()


def test_the_checksum_covers_the_whole_file(tmp_path):
    content = os.urandom(3_000_001)
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_make_folder_creates_the_parents_and_accepts_an_existing_folder(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_the_error_names_a_folder_that_cannot_be_created(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file" / "below", tmp_path / "file"):
        with pytest.raises(UserError, match="--artifacts") as caught:
            make_folder(folder)
        assert str(folder) in str(caught.value)

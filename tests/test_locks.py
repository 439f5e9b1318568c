"""Locks on folders."""

from __future__ import annotations

import errno
import os
import platform
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from resnet import locks
from resnet.errors import LockedElsewhere, UserError
from resnet.locks import is_locked, locked

LOCK_UNTIL_A_LINE_COMES = """
import sys
from pathlib import Path
from resnet.locks import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def lock_owner(tmp_path):
    """Another process that has locked tmp_path. It exits when it reads a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOCK_UNTIL_A_LINE_COMES, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("folder", [Path("/proc"), Path("/proc/self/below")])
def test_locking_a_read_only_folder_fails_and_names_it(folder):
    with pytest.raises(UserError, match="--artifacts") as caught, locked(folder):
        pass
    assert str(folder) in str(caught.value)
    assert not isinstance(caught.value, LockedElsewhere)


def test_locking_creates_the_folder(tmp_path):
    with locked(tmp_path / "new" / "folder"):
        assert (tmp_path / "new" / "folder").is_dir()


def test_the_error_for_a_locked_folder_names_its_lock_owner(tmp_path, lock_owner):
    with pytest.raises(LockedElsewhere) as caught, locked(tmp_path):
        pass
    assert str(tmp_path) in str(caught.value)
    assert f"pid {lock_owner.pid}" in str(caught.value)


def test_another_folder_can_be_locked_at_the_same_time(tmp_path, lock_owner):
    with locked(tmp_path / "another"):
        pass


def test_a_killed_lock_owner_releases_the_folder(tmp_path, lock_owner):
    lock_owner.send_signal(signal.SIGKILL)
    lock_owner.wait()
    with locked(tmp_path):
        pass


def test_a_lock_owner_that_exits_releases_the_folder(tmp_path, lock_owner):
    lock_owner.communicate("\n")
    with locked(tmp_path):
        pass


def test_the_lock_is_released_when_the_block_raises(tmp_path):
    with pytest.raises(ValueError, match="disk"), locked(tmp_path):
        raise ValueError("disk")
    with locked(tmp_path):
        pass


def test_the_lock_owner_cannot_lock_its_folder_twice(tmp_path):
    with locked(tmp_path), pytest.raises(LockedElsewhere, match=f"pid {os.getpid()}"), locked(tmp_path):
        pass


def test_a_waiter_gets_the_lock_when_the_owner_exits(tmp_path, lock_owner):
    acquired = threading.Event()

    def wait_for_the_lock() -> None:
        with locked(tmp_path, wait=float("inf")):
            acquired.set()

    waiting = threading.Thread(target=wait_for_the_lock)
    waiting.start()
    assert not acquired.is_set()
    lock_owner.communicate("\n")
    waiting.join()
    assert acquired.is_set()


def test_locking_leaves_the_files_in_the_folder_unchanged(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    with locked(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"content"


def test_several_readers_share_a_lock_and_exclude_a_writer(tmp_path):
    readers = locked(tmp_path, shared=True), locked(tmp_path, shared=True)
    with readers[0], readers[1], pytest.raises(LockedElsewhere, match="one that reads it"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_writer_excludes_readers(tmp_path, lock_owner):
    with pytest.raises(LockedElsewhere, match=f"pid {lock_owner.pid}"), locked(tmp_path, shared=True):
        pass


def test_a_long_wait_for_a_lock_is_reported_with_its_owner(tmp_path, lock_owner, monkeypatch, capsys):
    monkeypatch.setattr(locks, "LOG_WAIT_SECONDS", 0.0)
    with pytest.raises(LockedElsewhere), locked(tmp_path, wait=0.3):
        pass
    assert (
        f"waiting for another process (pid {lock_owner.pid} on {platform.node()}) that has locked {tmp_path}"
        in capsys.readouterr().err
    )


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(UserError, match=r"cannot be locked: No locks available\. Give a folder on"), locked(tmp_path):
        pass


def test_one_can_ask_whether_a_folder_is_locked_alone_or_together(tmp_path):
    assert not is_locked(tmp_path)
    for shared in (False, True):
        with locked(tmp_path, shared=shared):
            assert is_locked(tmp_path)
        assert not is_locked(tmp_path)


def test_a_folder_that_another_process_has_locked_is_locked_until_it_ends(tmp_path, lock_owner):
    assert is_locked(tmp_path)
    lock_owner.kill()
    lock_owner.wait()
    assert not is_locked(tmp_path)


def test_asking_neither_creates_a_lock_nor_keeps_one(tmp_path):
    assert not is_locked(tmp_path / "missing")
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path):
        pass
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path)
        with pytest.raises(LockedElsewhere), locked(tmp_path):
            pass


def test_a_file_system_without_locks_has_no_locked_folders(tmp_path, monkeypatch):
    with locked(tmp_path):
        pass

    def refuse(descriptor, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    assert not is_locked(tmp_path)

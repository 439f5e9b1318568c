"""Atomic writes, and locks on folders."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from resnet import files
from resnet.errors import LockedElsewhere, UserError
from resnet.files import atomic, locked, make_folder, sha256

LOCK_UNTIL_A_LINE_COMES = """
import sys
from pathlib import Path
from resnet.files import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.readline()
"""

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


def test_writing_over_a_folder_fails_and_leaves_no_temporary_file(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="directory"), atomic(tmp_path / "file") as file:
        file.write(b"new")
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
    assert [name for name in entries(tmp_path) if not name.startswith(".")] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"content"


def test_several_readers_share_a_lock_and_exclude_a_writer(tmp_path):
    readers = locked(tmp_path, shared=True), locked(tmp_path, shared=True)
    with readers[0], readers[1], pytest.raises(LockedElsewhere, match="one that reads from it"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_writer_excludes_readers(tmp_path, lock_owner):
    with pytest.raises(LockedElsewhere, match=f"pid {lock_owner.pid}"), locked(tmp_path, shared=True):
        pass


def test_a_long_wait_for_a_lock_is_reported_with_its_owner(tmp_path, lock_owner, monkeypatch, capsys):
    monkeypatch.setattr(files, "WORTH_SAYING", 0.0)
    with pytest.raises(LockedElsewhere), locked(tmp_path, wait=0.3):
        pass
    assert f"waiting for another process (pid {lock_owner.pid}) that has locked {tmp_path}" in capsys.readouterr().err

"""Files that are whole or not there, and folders that one process holds."""

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

HOLD = """
import sys
from pathlib import Path
from resnet.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
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
def holder(tmp_path):
    """Another process that has locked tmp_path until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_file_takes_its_place_only_when_the_block_ends(tmp_path):
    path = tmp_path / "file"
    with atomic(path) as file:
        file.write(b"content")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"content"
    assert entries(tmp_path) == ["file"]


def test_a_new_file_replaces_the_old_one_as_a_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a much longer old content")
    with atomic(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"a much longer old content"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_the_old_file_stays_and_nothing_else_when_the_block_raises(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error):
        write_and_raise(path, error)
    assert path.read_bytes() == b"old"
    assert entries(tmp_path) == ["file"]


def test_nothing_is_left_of_a_first_file_when_the_block_raises(tmp_path):
    with pytest.raises(ValueError, match="disk"):
        write_and_raise(tmp_path / "file", ValueError("disk"))
    assert entries(tmp_path) == []


def test_nothing_is_left_where_the_place_is_taken_by_a_folder(tmp_path):
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


def test_what_a_killed_writer_leaves_is_hidden_and_is_no_hindrance(tmp_path):
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


def test_the_checksum_is_of_the_whole_file(tmp_path):
    content = os.urandom(3_000_001)
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_a_folder_is_made_with_those_above_it_and_may_be_there_already(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_folder_below_a_file_cannot_be_made_and_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file" / "below", tmp_path / "file"):
        with pytest.raises(UserError, match="--artifacts") as caught:
            make_folder(folder)
        assert str(folder) in str(caught.value)


@pytest.mark.parametrize("folder", [Path("/proc"), Path("/proc/self/below")])
def test_a_folder_that_cannot_be_written_cannot_be_held_and_is_named(folder):
    with pytest.raises(UserError, match="--artifacts") as caught, locked(folder):
        pass
    assert str(folder) in str(caught.value)
    assert not isinstance(caught.value, LockedElsewhere)


def test_a_folder_is_made_when_it_is_held(tmp_path):
    with locked(tmp_path / "new" / "folder"):
        assert (tmp_path / "new" / "folder").is_dir()


def test_a_second_process_is_told_who_holds_the_folder(tmp_path, holder):
    with pytest.raises(LockedElsewhere) as caught, locked(tmp_path):
        pass
    assert str(tmp_path) in str(caught.value)
    assert f"pid {holder.pid}" in str(caught.value)


def test_another_folder_may_be_held_meanwhile(tmp_path, holder):
    with locked(tmp_path / "another"):
        pass


def test_a_killed_holder_lets_go(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(tmp_path):
        pass


def test_a_holder_that_ends_well_lets_go(tmp_path, holder):
    holder.communicate("\n")
    with locked(tmp_path):
        pass


def test_a_holder_lets_go_when_its_block_raises(tmp_path):
    with pytest.raises(ValueError, match="disk"), locked(tmp_path):
        raise ValueError("disk")
    with locked(tmp_path):
        pass


def test_a_folder_is_held_against_the_holder_itself_too(tmp_path):
    with locked(tmp_path), pytest.raises(LockedElsewhere, match=f"pid {os.getpid()}"), locked(tmp_path):
        pass


def test_one_that_waits_gets_the_folder_when_the_other_is_done(tmp_path, holder):
    got_it = threading.Event()

    def wait_for_it() -> None:
        with locked(tmp_path, wait=float("inf")):
            got_it.set()

    waiting = threading.Thread(target=wait_for_it)
    waiting.start()
    assert not got_it.is_set()
    holder.communicate("\n")
    waiting.join()
    assert got_it.is_set()


def test_holding_a_folder_touches_nothing_in_it(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    with locked(tmp_path):
        pass
    assert [name for name in entries(tmp_path) if not name.startswith(".")] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"content"


def test_several_may_hold_a_folder_together_but_then_nobody_alone(tmp_path):
    together = locked(tmp_path, shared=True), locked(tmp_path, shared=True)
    with together[0], together[1], pytest.raises(LockedElsewhere, match="one that reads from it"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_folder_that_one_holds_alone_is_not_shared(tmp_path, holder):
    with pytest.raises(LockedElsewhere, match=f"pid {holder.pid}"), locked(tmp_path, shared=True):
        pass


def test_waiting_for_another_is_said(tmp_path, holder, monkeypatch, capsys):
    monkeypatch.setattr(files, "WORTH_SAYING", 0.0)
    with pytest.raises(LockedElsewhere), locked(tmp_path, wait=0.3):
        pass
    assert f"waiting for another process (pid {holder.pid}) that has locked {tmp_path}" in capsys.readouterr().err

"""Locks on folders, so that two processes do not write to the same run or stage."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from resnet.errors import LockedElsewhere, UserError
from resnet.files import kind_of, make_folder

logger = logging.getLogger(__name__)

LOCK = ".lock"  # in a folder that is or was locked
GLANCE_SECONDS = 0.3  # in which somebody may only look whether a folder is locked
LOG_WAIT_SECONDS = 2.0  # seconds of waiting for another process


@contextlib.contextmanager
def locked(folder: Path, *, wait: float = 0.0, shared: bool = False) -> Iterator[None]:
    """Lock `folder` for this process, so that no other writes to it. The kernel unlocks it when the process ends.

    A lock is exclusive, or `shared` with other shared ones. Waits up to `wait` seconds for other processes, and logs
    that it waits. Then raises LockedElsewhere, with the process id of the one that has the exclusive lock.
    """
    make_folder(folder)
    path = folder / LOCK
    try:
        mode = os.O_RDONLY if shared else os.O_RDWR  # this user may only be able to read the records
        descriptor = os.open(path, mode | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise kind_of(error)(
            f"cannot write in {folder}: {error.strerror}. Give another folder with --artifacts."
        ) from None
    try:
        _lock(descriptor, folder, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, wait)
        if not shared:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"pid {os.getpid()} on {platform.node()}\n".encode(), 0)
        try:
            yield
        finally:
            if not shared:
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Whether any process, this one too, has locked a folder, alone or together with others.

    Creates nothing. Who asks for the lock in the instant that this takes must wait, and goes on 0.1 s later: so ask
    this only of folders that are locked with a `wait`. False where it cannot be found out.
    """
    try:
        descriptor = _open_existing(folder / LOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # closing releases it
    except BlockingIOError:
        return True
    except OSError:  # some network file systems have no locks, or none for who may only read
        return False
    finally:
        os.close(descriptor)
    return False


def lock_owner(folder: Path) -> str:
    """Who has locked a folder: "pid 7 on host", or "one that reads it"; empty where nobody has.

    As `is_locked`.
    """
    if not is_locked(folder):
        return ""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return _owner(descriptor)
    finally:
        os.close(descriptor)


def _owner(descriptor: int) -> str:
    return os.pread(descriptor, 100, 0).decode(errors="replace").strip() or "one that reads it"


def _open_existing(path: Path) -> int:
    """Some network file systems lock only what is open for writing; a lock of somebody else's can only be read."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _lock(descriptor: int, folder: Path, kind: int, wait: float) -> None:
    begun, said = time.monotonic(), False
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            waited = time.monotonic() - begun
            owner = _owner(descriptor)
            if waited >= wait:
                raise LockedElsewhere(
                    f"another process ({owner}) has locked {folder}: wait for it, or use another --run or --artifacts"
                ) from None
            if waited > LOG_WAIT_SECONDS and not said:
                logger.info("waiting for another process (%s) that has locked %s", owner, folder)
                said = True
            time.sleep(0.1)
        except OSError as error:  # ENOLCK, ENOTSUP: some network file systems
            raise UserError(
                f"{folder} cannot be locked: {error.strerror}. Give a folder on a file system that has locks with "
                "--artifacts."
            ) from None

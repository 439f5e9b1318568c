"""Files that are either complete or not there: written to a temporary file, synced, then renamed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from resnet.errors import LockedElsewhere, UserError

logger = logging.getLogger(__name__)

WORTH_SAYING = 2.0  # seconds of waiting for another process


@contextlib.contextmanager
def atomic(path: Path, mode: str = "wb") -> Iterator[IO]:
    """Open a temporary file that replaces `path` when the block succeeds, and is deleted when it fails.

    Text is UTF-8. File names that are not valid UTF-8 are written as the bytes they are.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        text = {} if "b" in mode else {"encoding": "utf-8", "errors": "surrogateescape"}
        with open(temporary, mode, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """A rename survives a power cut only once its folder is synced."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot create the folder {folder}: {error.strerror}. Give another one with --artifacts."
        ) from None


@contextlib.contextmanager
def locked(folder: Path, *, wait: float = 0.0, shared: bool = False) -> Iterator[None]:
    """Lock `folder` for this process, so that no other writes to it. The kernel unlocks it when the process ends.

    Several processes can lock it `shared`: none can lock it alone meanwhile. Waits up to `wait` seconds for the others,
    and logs that it waits. Then raises LockedElsewhere with the process id of one that has it alone.
    """
    make_folder(folder)
    path = folder / ".lock"
    try:
        mode = os.O_RDONLY if shared else os.O_RDWR  # this user may only be able to read the records
        descriptor = os.open(path, mode | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UserError(f"cannot write in {folder}: {error.strerror}. Give another folder with --artifacts.") from None
    try:
        _lock(descriptor, folder, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, wait)
        if not shared:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"pid {os.getpid()}\n".encode(), 0)
        try:
            yield
        finally:
            if not shared:
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, kind: int, wait: float) -> None:
    begun, said = time.monotonic(), False
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            waited = time.monotonic() - begun
            owner = os.pread(descriptor, 100, 0).decode(errors="replace").strip() or "one that reads from it"
            if waited >= wait:
                raise LockedElsewhere(f"another process ({owner}) has locked {folder}") from None
            if waited > WORTH_SAYING and not said:
                logger.info("waiting for another process (%s) that has locked %s", owner, folder)
                said = True
            time.sleep(0.1)

"""Files that are either whole or not there: written beside their place, synced, then renamed into it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from resnet.errors import HeldElsewhere, UserError

WORTH_SAYING = 2.0  # seconds of waiting for another process


@contextlib.contextmanager
def atomic(path: Path, mode: str = "wb") -> Iterator[IO]:
    """Open a temporary file that takes `path`'s place when the block ends well, and vanishes when it does not.

    Text is UTF-8; names of files that are not are written as the bytes that they are.
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
def held(folder: Path, *, wait: float = 0.0, shared: bool = False) -> Iterator[None]:
    """Hold `folder` for this process, so that no other writes to it; the kernel lets go even of a killed holder.

    Several processes can hold it `shared`: no other can hold it alone meanwhile. Waits up to `wait` seconds for other
    holders to finish, which is said, then raises HeldElsewhere with the process id of one that holds it alone.
    """
    make_folder(folder)
    path = folder / ".lock"
    try:
        mode = os.O_RDONLY if shared else os.O_RDWR  # records may lie where this user can only read
        descriptor = os.open(path, mode | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UserError(f"cannot write in {folder}: {error.strerror}. Give another folder with --artifacts.") from None
    try:
        begun, said = time.monotonic(), False
        while True:
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = time.monotonic() - begun
                holder = os.pread(descriptor, 100, 0).decode(errors="replace").strip() or "one that reads from it"
                if waited >= wait:
                    raise HeldElsewhere(f"another process ({holder}) holds {folder}") from None
                if waited > WORTH_SAYING and not said:
                    print(f"waiting for another process ({holder}) that holds {folder}", file=sys.stderr, flush=True)
                    said = True
                time.sleep(0.1)
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

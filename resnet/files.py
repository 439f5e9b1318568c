"""Files that are either complete or not there: written to a temporary file, synced, then renamed.

Also: how long to try again where a network disk is away for a moment.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeVar

from resnet.errors import UserError

Result = TypeVar("Result")

# What a network disk raises while its server is away or restarts. Not ENOENT: a file that is not there stays so.
TRANSIENT = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, getattr(errno, "EREMOTEIO", errno.EIO)}
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 16.0, 16.0)  # seconds before each further attempt: about a minute in all


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
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def make_folder(folder: Path) -> None:
    """Create a folder and its parents. Raises UserError if that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot create the folder {folder}: {error.strerror}. Give another one with --artifacts."
        ) from None


def with_retries(
    operation: Callable[[], Result],
    on_retry: Callable[[OSError, float], None],
    *,
    pause: Callable[[float], None] = time.sleep,
) -> Result:
    """The result of `operation`, which is tried again, after a pause, while it fails with a TRANSIENT error.

    `on_retry(error, seconds)` is called before each pause: it says so, and closes what must be opened again. After the
    last of PAUSES the error is raised, as is any other error at once.
    """
    for seconds in PAUSES:
        try:
            return operation()
        except OSError as error:
            if error.errno not in TRANSIENT:
                raise
            on_retry(error, seconds)
        pause(seconds)
    return operation()

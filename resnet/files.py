"""Files and folders that are either complete or not there: written beside under another name, synced, then renamed.

Also: how long to try again where a network disk is away for a moment.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import platform
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeVar

from resnet.errors import Passing, UserError

logger = logging.getLogger(__name__)

LEFTOVER = ".partial"  # how the name of a temporary file ends
ABANDONED_SECONDS = 3600.0

Result = TypeVar("Result")

# What a network disk raises while its server is away or restarts. Not ENOENT: a file that is not there stays so.
TRANSIENT = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, getattr(errno, "EREMOTEIO", errno.EIO)}
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 16.0, 16.0)  # seconds before each further attempt: about a minute in all


@contextlib.contextmanager
def atomic(path: Path, mode: str = "wb") -> Iterator[IO]:
    """Open a temporary file that replaces `path` when the block succeeds, and is deleted when it fails.

    Text is UTF-8. File names that are not valid UTF-8 are written as the bytes they are.
    """
    temporary = temporary_name(path)
    try:
        text = {} if "b" in mode else {"encoding": "utf-8", "errors": "surrogateescape"}
        with open(temporary, mode, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # nobody knows the temporary file
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that replaces the folder `path` when the block succeeds, and is deleted when it fails.

    Nobody else may be writing to `path`: what killed writers left is deleted first. No file system exchanges two
    folders that hold something, so a kill in between leaves the earlier one aside, and the next writer puts it back.
    """
    make_folder(path.parent)
    former = path.with_name(f".{path.name}.former")
    if os.path.lexists(former) and not os.path.lexists(path):
        former.rename(path)
    for leftover in (former, *path.parent.glob(f".{path.name}.*{LEFTOVER}")):
        _delete(leftover)
    temporary = temporary_name(path)
    try:
        temporary.mkdir()
        yield temporary
        _sync_all(temporary)
        if os.path.lexists(path):
            path.rename(former)
        temporary.rename(path)
        sync_folder(path.parent)
    except BaseException:
        if os.path.lexists(former) and not os.path.lexists(path):
            former.rename(path)
        raise
    finally:
        _delete(temporary)
        _delete(former)


def _delete(path: Path) -> None:
    """Delete a folder, or the file or link that a user has put in its place. What a link leads to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        else:
            with open(path, "rb") as file:
                os.fsync(file.fileno())


def temporary_name(path: Path) -> Path:
    """A name beside `path` that no other process uses, on this or another host that shares the folder."""
    return path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}{LEFTOVER}")


def remove_leftovers(folder: Path, pattern: str = "**/.*") -> None:
    """Delete the temporary files of writers that were killed. Nobody else may be writing in the folder."""
    for leftover in folder.glob(pattern + LEFTOVER):
        leftover.unlink(missing_ok=True)


def remove_abandoned(path: Path) -> None:
    """Delete the temporary files of `path` that killed writers left, where others may be writing it right now.

    That a process has ended is known on this host. What a process of another host wrote must be an hour old.
    """
    for leftover in path.parent.glob(f".{path.name}.*{LEFTOVER}"):
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            if _is_abandoned(leftover, path):
                leftover.unlink()


def _is_abandoned(leftover: Path, path: Path) -> bool:
    pid = leftover.name.removeprefix(f".{path.name}.{platform.node()}-").partition("-")[0]
    if not pid.isdecimal():
        return time.time() - leftover.stat().st_mtime > ABANDONED_SECONDS
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # somebody else's
        pass
    return False


def sync_folder(folder: Path) -> None:
    """A rename survives a power cut only once its folder is synced."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot sync a folder
            raise
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
    """Create a folder and its parents. Raises UserError if that is not possible, Passing if it may be soon."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise kind_of(error)(
            f"cannot create the folder {folder}: {error.strerror}. Give another one with --artifacts."
        ) from None


def kind_of(error: OSError) -> type[UserError]:
    """As what an error of the operating system is shown to the user."""
    return Passing if error.errno in TRANSIENT else UserError


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


def tried_again(operation: Callable[[], Result], path: Path) -> Result:
    """`with_retries`, with a warning about `path` before each further attempt."""

    def warn(error: OSError, seconds: float) -> None:
        logger.warning("%s: %s; the next attempt is in %.0f s", path, error.strerror, seconds)

    return with_retries(operation, warn)

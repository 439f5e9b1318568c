"""Operations on a disk that is away for a moment."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from resnet.checked_json import read_json
from resnet.errors import Passing, UserError
from resnet.files import PAUSES, TRANSIENT, make_folder, with_retries
from resnet.locks import locked


class Disk:
    """Fails as often as told, then works. Notes what it was asked and how long was waited."""

    def __init__(self, failures: int, number: int = errno.EIO):
        self.failures, self.number = failures, number
        self.attempts = 0
        self.retries: list[tuple[int | None, float]] = []
        self.pauses: list[float] = []

    def read(self) -> str:
        self.attempts += 1
        if self.attempts <= self.failures:
            raise OSError(self.number, os.strerror(self.number))
        return "content"

    def read_with_retries(self) -> str:
        return with_retries(self.read, lambda error, s: self.retries.append((error.errno, s)), pause=self.pauses.append)


@pytest.mark.parametrize("number", sorted(TRANSIENT))
def test_a_transient_error_is_tried_again_after_growing_pauses(number):
    disk = Disk(failures=3, number=number)
    assert disk.read_with_retries() == "content"
    assert disk.pauses == [1.0, 2.0, 4.0]
    assert disk.retries == [(number, 1.0), (number, 2.0), (number, 4.0)]


def test_an_operation_that_succeeds_is_done_once():
    disk = Disk(failures=0)
    assert disk.read_with_retries() == "content"
    assert (disk.attempts, disk.pauses) == (1, [])


def test_an_error_that_stays_for_a_minute_is_raised():
    disk = Disk(failures=100)
    with pytest.raises(OSError, match="Input/output error"):
        disk.read_with_retries()
    assert disk.pauses == list(PAUSES)
    assert 55 <= sum(PAUSES) <= 75
    assert max(PAUSES) <= 20  # a worker's silence is bounded, and it reports before each pause


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.ENOSPC])
def test_any_other_error_is_raised_at_once(number):
    disk = Disk(failures=1, number=number)
    with pytest.raises(OSError, match=os.strerror(number)):
        disk.read_with_retries()
    assert (disk.attempts, disk.retries, disk.pauses) == (1, [], [])


@pytest.mark.parametrize(("number", "kind"), [(errno.EIO, Passing), (errno.ESTALE, Passing), (errno.EACCES, UserError)])
def test_a_disk_that_is_away_is_no_mistake_of_the_user(number, kind, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    def lock() -> None:
        with locked(tmp_path):
            pass

    for name, operation in (
        ("pathlib.Path.read_bytes", lambda: read_json(tmp_path / "stage.json", set(), "")),
        ("os.open", lock),
        ("pathlib.Path.mkdir", lambda: make_folder(Path(tmp_path / "a"))),
    ):
        with monkeypatch.context() as broken:
            broken.setattr(name, fail)
            with pytest.raises(UserError) as caught:
                operation()
        assert type(caught.value) is kind, name

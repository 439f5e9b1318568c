"""Reading the images of a shard, and noting what was read."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field

import pytest

from resnet.conversion.made_from import Reader, read_again, stamp_of
from resnet.errors import UserError


@dataclass
class Failing:
    """An image whose disk fails with these errors, one after the other, before it can be read."""

    filename: str = "cat/5.jpg"
    errors: list[int] = field(default_factory=list)

    def read(self) -> bytes:
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number), "/images/cat/5.jpg")
        return b"content"

    def name(self) -> str:
        return self.filename

    def stamp(self) -> str:
        return "1"

    def length(self) -> int:
        return 7


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_an_image_on_a_disk_that_is_away_for_a_moment_is_read_again_with_a_warning(number):
    said, pauses = [], []
    reader = Reader(said.append, pauses.append)
    assert reader.read(Failing(errors=[number, number])) == b"content"
    assert pauses == [1.0, 2.0]
    assert said[0] == f"cat/5.jpg: {os.strerror(number)}; trying again in 1 s"


def test_an_image_that_cannot_be_read_is_not_tried_again(monkeypatch):
    with pytest.raises(PermissionError):
        Reader(pytest.fail, pytest.fail).read(Failing(errors=[errno.EACCES]))


def test_a_disk_that_stays_away_is_no_fault_of_the_image():
    with pytest.raises(UserError, match=r"cat/5\.jpg cannot be read: Stale file handle. Check the disk"):
        Reader(lambda words: None, lambda seconds: None).read(Failing(errors=[errno.ESTALE] * 9))


def test_memory_that_runs_out_while_a_file_is_read_is_no_fault_of_the_image():
    with pytest.raises(MemoryError):
        Reader(pytest.fail, pytest.fail).read(Failing(errors=[errno.ENOMEM]))


def test_images_that_were_read_again_have_the_same_facts():
    reader = Reader(pytest.fail)
    reader.read(Failing())
    assert read_again([Failing()], pytest.fail) == reader.facts()
    assert reader.facts()["stamps"] == [stamp_of([Failing()])]


def test_an_image_that_cannot_be_read_any_more_has_changed():
    assert (
        read_again([Failing(errors=[errno.EACCES])], pytest.fail)["content"]
        != read_again([Failing()], pytest.fail)["content"]
    )

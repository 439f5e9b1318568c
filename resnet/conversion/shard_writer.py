"""Writes one shard: each image decoded once, stored in a form that all decoders read alike."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from resnet.conversion.made_from import Reader
from resnet.conversion.messages import ShardJob
from resnet.datasets.source import Image
from resnet.errors import UserError
from resnet.images import perceptual_hash
from resnet.images.decoding import Unreadable
from resnet.images.stored import Stored, to_stored
from resnet.records.example import LabelledImage
from resnet.records.shards import Shard
from resnet.workers.process import Owner


def write_shard(
    folder: Path, job: ShardJob, classes: Sequence[tuple[str, str]], max_megapixels: float, owner: Owner
) -> dict[str, Any]:
    """Write a shard of images with their labels; returns its summary. The owner is told which image it is at.

    Raises UserError for want of memory.
    """
    account, current = _Account(owner.warn), ""

    def records() -> Iterator[LabelledImage]:
        nonlocal current
        with _DecoderWarnings() as warnings:
            for image, label in job.images:
                current = image.filename
                owner.at(current)
                if stored := account.take(image, max_megapixels, warnings):
                    yield LabelledImage(*stored[:4], label, *classes[label], image.name())
            owner.at(f"the end of {job.name}")  # its last bytes are on their way to the disk
            account.close()

    try:
        return Shard(folder, job.name).write(records(), list=job.digest, **account.facts)
    except MemoryError:
        raise UserError(
            f"memory ran out while converting {current}. Finished shards are kept; "
            "fewer workers in luigi.cfg need less memory."
        ) from None


class _Account:
    """What becomes of each image of a shard. `facts` go into the shard's summary."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._reader = Reader(warn)
        self._rejected: list[tuple[str, str]] = []
        self._decode_warnings: list[tuple[str, str]] = []
        self._hashes: list[str] = []
        self._counts: dict[str, Counter[str]] = {kind: Counter() for kind in ("converted", "reduced", "left_whole")}
        self.facts: dict[str, Any] = {
            "made_from": {},
            "rejected": self._rejected,
            "decode_warnings": self._decode_warnings,
            "perceptual_hashes": {},
            **self._counts,
        }

    def take(self, image: Image, max_megapixels: float, warnings: _DecoderWarnings) -> Stored | None:
        """The image as it is stored; None if it is rejected."""
        try:
            stored = to_stored(self._reader.read(image), max_megapixels)
        except (Unreadable, OSError) as error:
            self._rejected.append((image.filename, str(error)))
            warnings.take()
            return None
        if warning := warnings.take():
            self._decode_warnings.append((image.filename, warning))
        self._hashes.append(stored.perceptual_hash)
        self._counts["reduced"].update(stored.reduced)
        if stored.converted_from and not stored.reduced:
            self._counts["converted"][stored.converted_from] += 1
        if stored.left_whole:
            self._counts["left_whole"][stored.left_whole] += 1
        return stored

    def close(self) -> None:
        self.facts["made_from"].update(self._reader.facts())
        self.facts["perceptual_hashes"][perceptual_hash.KIND] = "".join(self._hashes)


class _DecoderWarnings:
    """What libjpeg and libpng print to standard error while they repair an image: their only way to report it."""

    def __enter__(self) -> _DecoderWarnings:
        self._file = (
            os.memfd_create("decoder-warnings") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
        )
        self._stderr = os.dup(2)
        os.dup2(self._file, 2)
        return self

    def __exit__(self, *_: object) -> None:
        os.dup2(self._stderr, 2)
        os.close(self._stderr)
        os.close(self._file)

    def take(self) -> str:
        """What was printed since the last call."""
        size = os.lseek(2, 0, os.SEEK_CUR)
        if not size:
            return ""
        words = os.pread(self._file, size, 0).decode(errors="replace")
        os.ftruncate(self._file, 0)
        os.lseek(2, 0, os.SEEK_SET)
        # Each line once: an image that is decoded twice has the same warnings twice.
        return " ".join(dict.fromkeys(" ".join(line.split()) for line in words.splitlines()))

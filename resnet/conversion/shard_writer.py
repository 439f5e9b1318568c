"""Writes one shard: each image decoded once, stored in a form that all decoders read alike."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from resnet.datasets.source import Image
from resnet.images.decoding import Unreadable
from resnet.images.stored import to_stored
from resnet.records.example import LabelledImage
from resnet.records.shards import Shard


def write_shard(
    folder: Path,
    name: str,
    images: list[tuple[Image, int]],
    classes: list[tuple[str, str]],
    list_digest: str,
    at: Callable[[str], None],
) -> dict[str, Any]:
    """Write a shard of images with their labels; returns its summary. Calls `at` with the name of each image first."""
    rejected: list[tuple[str, str]] = []
    decode_warnings: list[tuple[str, str]] = []
    converted: Counter[str] = Counter()
    left_whole: Counter[str] = Counter()

    def readable() -> Iterator[LabelledImage]:
        with _DecoderWarnings() as warnings:
            for image, label in images:
                at(image.filename)
                try:
                    stored = to_stored(image.read())
                except (Unreadable, OSError) as error:
                    rejected.append((image.filename, str(error)))
                    warnings.take()
                    continue
                if warning := warnings.take():
                    decode_warnings.append((image.filename, warning))
                if stored.converted_from:
                    converted[stored.converted_from] += 1
                if stored.left_whole:
                    left_whole[stored.left_whole] += 1
                yield LabelledImage(*stored[:4], label, *classes[label], image.name())
            at(f"the end of {name}")  # its last bytes are on their way to the disk

    return Shard(folder, name).write(
        readable(),
        list=list_digest,
        rejected=rejected,
        decode_warnings=decode_warnings,
        converted=converted,
        left_whole=left_whole,
    )


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
        return " ".join(words.split())

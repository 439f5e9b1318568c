"""Writes one shard, in a process of its own: each image decoded once, stored in a form that all decoders read alike."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from resnet.datasets.source import Image
from resnet.errors import UserError
from resnet.images.decoding import Unreadable
from resnet.images.stored import to_stored
from resnet.processes import die_with_parent, keep_freed_memory
from resnet.records.example import LabelledImage
from resnet.records.shards import Shard


def start_process(parent: int) -> None:
    """What a conversion process does first."""
    die_with_parent(parent)
    keep_freed_memory()
    cv2.setNumThreads(1)
    # OpenCV's own log stays quiet; _DecoderWarnings captures what the decoders print, image by image.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def compile_kernels() -> None:
    """Have the kernels compiled, or loaded, before they are needed."""
    pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    to_stored(cv2.imencode(".jpg", pixels)[1].tobytes())


def write_shard(
    folder: Path,
    name: str,
    images: list[tuple[Image, int]],
    classes: list[tuple[str, str]],
    list_digest: str,
    max_megapixels: float,
) -> tuple[str, dict[str, Any]]:
    """Write a shard of images with their labels; returns its name and summary. Raises UserError for want of memory."""
    current = ""
    rejected: list[tuple[str, str]] = []
    decode_warnings: list[tuple[str, str]] = []
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in ("converted", "reduced", "left_whole")}

    def readable() -> Iterator[LabelledImage]:
        nonlocal current
        with _DecoderWarnings() as warnings:
            for image, label in images:
                current = image.filename
                try:
                    stored = to_stored(image.read(), max_megapixels)
                except (Unreadable, OSError) as error:
                    rejected.append((image.filename, str(error)))
                    warnings.take()
                    continue
                if warning := warnings.take():
                    decode_warnings.append((image.filename, warning))
                counts["reduced"].update(stored.reduced)
                if stored.converted_from and not stored.reduced:
                    counts["converted"][stored.converted_from] += 1
                if stored.left_whole:
                    counts["left_whole"][stored.left_whole] += 1
                yield LabelledImage(*stored[:4], label, *classes[label], image.name())

    try:
        summary = Shard(folder, name).write(
            readable(),
            list=list_digest,
            rejected=rejected,
            decode_warnings=decode_warnings,
            **counts,
        )
    except MemoryError:
        raise UserError(
            f"memory ran out while converting {current}. Finished shards are kept; "
            "fewer workers in luigi.cfg need less memory."
        ) from None
    return name, summary


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

"""The logits of all validation images: a NumPy file that is written batch by batch, and read through the page cache."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from resnet.files import atomic


@contextlib.contextmanager
def writing_logits(path: Path, images: int, classes: int) -> Iterator[Callable[[np.ndarray], None]]:
    """Take batches of logits, float32 [n, classes], and leave a file of all of them, [images, classes]."""
    with atomic(path) as file:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (images, classes)}
        np.lib.format.write_array_header_1_0(file, shape)

        def keep(logits: np.ndarray) -> None:
            file.write(np.ascontiguousarray(logits, "<f4"))

        yield keep


def megabytes(images: int, classes: int) -> float:
    """How large the file is."""
    return images * classes * 4 / 1e6

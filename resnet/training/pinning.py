"""Memory locked in place, so that a GPU copies from it by itself.

Ordinary memory goes to a GPU in pieces through a buffer of the driver's, while the processor waits; from locked memory
it is one copy beside all other work. TensorFlow can lock only what it allocates itself, so the ring of batches is made
known to the driver directly (cuda.h: cuMemHostRegister).
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

PORTABLE = 1  # CU_MEMHOSTREGISTER_PORTABLE: for every GPU of this process


@contextlib.contextmanager
def page_locked(memory: np.ndarray, driver: Any = None) -> Iterator[bool]:
    """Keep an array's memory locked inside; yields whether it is. `driver`: libcuda, loaded by default.

    Where that is impossible it is said on standard error: training goes on, its copies to the GPU take longer.
    """
    try:
        driver = driver or ctypes.CDLL("libcuda.so.1")
        with _primary_context(driver):
            address = ctypes.c_void_p(memory.ctypes.data)
            _call(driver, "cuMemHostRegister_v2", address, ctypes.c_size_t(memory.nbytes), ctypes.c_uint(PORTABLE))
    except OSError as error:
        size = f"{memory.nbytes / 1e6:,.0f} MB"
        print(
            f"train: {size} of batches cannot be locked for the GPU's copies ({error}): they take longer",
            file=sys.stderr,
        )
        yield False
        return
    try:
        yield True
    finally:
        with _primary_context(driver):
            _call(driver, "cuMemHostUnregister", address)


@contextlib.contextmanager
def _primary_context(driver: Any) -> Iterator[None]:
    """The first GPU's context that TensorFlow uses too, for this thread, for as long as it takes."""
    device, context = ctypes.c_int(), ctypes.c_void_p()
    _call(driver, "cuInit", ctypes.c_uint(0))
    _call(driver, "cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
    _call(driver, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    try:
        _call(driver, "cuCtxPushCurrent_v2", context)
        try:
            yield
        finally:
            _call(driver, "cuCtxPopCurrent_v2", ctypes.byref(context))
    finally:
        _call(driver, "cuDevicePrimaryCtxRelease_v2", device)


def _call(driver: Any, name: str, *arguments: Any) -> None:
    """Call a function of the driver. Raises OSError for what it answers."""
    if code := getattr(driver, name)(*arguments):
        raise OSError(f"{name} answers {code}")

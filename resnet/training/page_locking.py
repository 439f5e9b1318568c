"""Page-locked memory, which a GPU copies from by itself.

Ordinary memory goes to a GPU in pieces through a buffer of the driver, while the CPU waits. From page-locked memory it
is one copy, in parallel with all other work. TensorFlow can page-lock only what it allocates itself, so the ring of
batches is registered with the driver directly (cuda.h: cuMemHostRegister).
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from resnet.devices.cuda_driver import call

logger = logging.getLogger(__name__)

PORTABLE = 1  # CU_MEMHOSTREGISTER_PORTABLE: for every GPU of this process


@contextlib.contextmanager
def page_locked(memory: np.ndarray, driver: Any = None) -> Iterator[bool]:
    """Page-lock an array's memory inside the block; yields whether that worked. `driver`: libcuda, loaded by default.

    Where it does not work, a warning says so: training continues, with slower copies to the GPU.
    """
    try:
        driver = driver or ctypes.CDLL("libcuda.so.1")
        with _primary_context(driver):
            address = ctypes.c_void_p(memory.ctypes.data)
            call(driver, "cuMemHostRegister_v2", address, ctypes.c_size_t(memory.nbytes), ctypes.c_uint(PORTABLE))
    except OSError as error:
        logger.warning(
            "%.0f MB of batches cannot be page-locked (%s): copies to the GPU are slower", memory.nbytes / 1e6, error
        )
        yield False
        return
    try:
        yield True
    finally:
        with _primary_context(driver):
            call(driver, "cuMemHostUnregister", address)


@contextlib.contextmanager
def _primary_context(driver: Any) -> Iterator[None]:
    """The first GPU's context that TensorFlow uses too, for this thread, for as long as it takes."""
    device, context = ctypes.c_int(), ctypes.c_void_p()
    call(driver, "cuInit", ctypes.c_uint(0))
    call(driver, "cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
    call(driver, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    try:
        call(driver, "cuCtxPushCurrent_v2", context)
        try:
            yield
        finally:
            call(driver, "cuCtxPopCurrent_v2", ctypes.byref(context))
    finally:
        call(driver, "cuDevicePrimaryCtxRelease_v2", device)

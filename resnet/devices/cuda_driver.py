"""Calls of NVIDIA's driver (cuda.h)."""

from __future__ import annotations

from typing import Any


def call(driver: Any, name: str, *arguments: Any) -> None:
    """Call a function of the driver, which is `ctypes.CDLL("libcuda.so.1")`. Raises OSError if it returns an error."""
    if code := getattr(driver, name)(*arguments):
        raise OSError(f"{name} returned error {code}")

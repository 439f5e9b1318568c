"""Functions that numba compiles to machine code: conversion's inner loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from numba import njit


def kernel(function: Callable) -> Any:
    """Compile a function, and keep its code for the next process where numba finds a folder for that.

    It looks beside the source, then in the user's home, or else where NUMBA_CACHE_DIR says.
    """
    return _compiled(function, inline="never")


def inlined(function: Callable) -> Any:
    """A part of kernels, compiled into each."""
    return _compiled(function, inline="always")


def _compiled(function: Callable, inline: Literal["never", "always"]) -> Any:
    try:
        return njit(cache=True, inline=inline)(function)
    except RuntimeError:  # no folder can be written, as for a container's user without a home: compiled every time
        return njit(inline=inline)(function)

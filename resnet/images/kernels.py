"""Decorators for conversion's inner loops, which numba compiles to machine code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from numba import njit


def kernel(function: Callable) -> Any:
    """Compile a function with numba, and cache its code for the next process if numba finds a folder for it.

    numba tries NUMBA_CACHE_DIR if that is set, else __pycache__ beside the source, then the user's cache folder.
    """
    return _compiled(function, inline="never")


def inlined(function: Callable) -> Any:
    """Compile a function into every kernel that calls it."""
    return _compiled(function, inline="always")


def _compiled(function: Callable, inline: Literal["never", "always"]) -> Any:
    try:
        return njit(cache=True, inline=inline)(function)
    except RuntimeError:  # no folder is writable, as in a container without a home: compile in every process
        return njit(inline=inline)(function)

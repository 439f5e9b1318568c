"""Pools whose workers run a script of the test instead of a module of the package."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

from resnet.workers import pool
from resnet.workers.pool import Work, WorkerPool

# A worker that answers each job with its parts in capitals.
CAPITALS = """
import os, signal, sys, time
from pathlib import Path
from resnet.errors import UserError
from resnet.workers.process import serve

def begin(setup, owner):
    def do(parts):
        {before}
        return [part.upper() for part in parts]
    return do

serve(begin)
"""


def capitals(before: str = "pass") -> str:
    """The script of a worker that does something first: lines of code that know `parts`, `setup` and `owner`."""
    return CAPITALS.format(before="\n        ".join(before.strip().splitlines()))


def use_script(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Have all pools start this script as their workers."""
    monkeypatch.setattr(pool, "command", lambda module: [sys.executable, "-c", script])


def work(**changes) -> Work:
    """What the workers of a test do."""
    some = {
        "name": "the test",
        "module": "resnet.test.worker",
        "setup": [b"setup"],
        "describe": lambda parts: f"the job {parts[0].decode()}",
        "remedy": "Do something.",
        "stalled_seconds": 30.0,
    }
    return Work(**some | changes)


def results(pool: WorkerPool, jobs: Sequence[bytes]) -> list[bytes]:
    """Have all jobs done; the first part of each result, in the order of the jobs."""
    numbers = [pool.submit([job]) for job in jobs]
    found: dict[int, bytes] = {}
    while len(found) < len(jobs):
        for number, parts in pool.done():
            assert number not in found, "a job was reported done twice"
            found[number] = parts[0]
    return [found[number] for number in numbers]

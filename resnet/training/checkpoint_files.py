"""The names of checkpoints, and what their headers say: read without TensorFlow, also while training writes them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from resnet.files import tried_again
from resnet.weights.safetensors_header import read_facts

NEWEST = 3  # checkpoints that are kept, besides those of the epochs asked for


def checkpoint_path(folder: Path, step: int) -> Path:
    """The checkpoint of the state after `step` steps."""
    return folder / f"step-{step:08d}.safetensors"


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps that there are checkpoints of, in rising order. Raises OSError for a folder that is not there."""
    names = tried_again(lambda: os.listdir(folder), folder)
    found = (re.fullmatch(r"step-(\d{8,})\.safetensors", name) for name in names)
    return sorted(int(match[1]) for match in found if match)


def known_corrupt_records(folder: Path) -> Sequence[str]:
    """The records that a training had found corrupt at its newest checkpoint; none before its first one."""
    for step in reversed(checkpoint_steps(folder)) if folder.is_dir() else ():
        if facts := read_facts(checkpoint_path(folder, step)):  # not of one that a training has just deleted
            return facts.get("corrupt", [])
    return []

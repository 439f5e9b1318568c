"""What an artifacts folder holds, as its small files say: data sets and runs, with the state of each stage.

It changes nothing and keeps nobody from working. What cannot be read or believed is a sentence among the `problems` of
what it belongs to; nothing is raised for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from resnet.inventory.data_sets import KnownDataSet, read_data_sets
from resnet.inventory.runs import KnownRun, read_runs, run_in_words
from resnet.inventory.stages import StageFacts, State

__all__ = ["Inventory", "KnownDataSet", "KnownRun", "StageFacts", "State", "read_inventory", "run_in_words"]


class Inventory(NamedTuple):
    """Everything in an artifacts folder, that with the newest activity first."""

    runs: list[KnownRun]
    data_sets: list[KnownDataSet]


def read_inventory(artifacts: Path) -> Inventory:
    """Look at every run and data set of an artifacts folder, which may be missing."""
    data_sets = read_data_sets(artifacts / "records")
    runs = read_runs(artifacts / "runs", data_sets)
    return Inventory(runs, data_sets)

"""Runs beside each other: the settings that differ, the errors, and whether these differ by more than chance."""

from resnet.comparison.compared import ComparedRun, read_run
from resnet.comparison.comparison import Comparison, compare_runs

__all__ = ["ComparedRun", "Comparison", "compare_runs", "read_run"]

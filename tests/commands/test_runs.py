"""The table of all runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_runs import MadeRun

LOGITS = {"good": [[4, 0], [0, 4]], "bad": [[0, 4], [4, 0]], "fair": [[4, 0], [4, 0]]}


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory) -> Path:
    """Three runs with errors of 0, 50 and 100 %, and a folder that is no run."""
    artifacts = tmp_path_factory.mktemp("runs") / "artifacts"
    for name, logits in LOGITS.items():
        MadeRun(logits=np.array(logits, np.float32), name=name).write(artifacts)
    (artifacts / "runs" / "notes").mkdir()
    (artifacts / "runs" / "notes" / "read me.txt").touch()
    return artifacts


def runs(*arguments: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "resnet", "runs", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_a_run_has_a_row_with_its_result(artifacts):
    lines = runs("--artifacts", artifacts).stdout.splitlines()
    assert lines[0].split()[:4] == ["run", "recipe", "state", "top1_error"]
    assert len(lines) == 5
    row = next(line for line in lines if line.startswith("fair"))
    assert row.split()[:6] == ["fair", "digits", "not", "finished", "50.00", "%"]


@pytest.mark.parametrize(
    ("column", "order"),
    [
        ("top1_error", ["good", "fair", "bad", "notes"]),
        ("run", ["bad", "fair", "good", "notes"]),
        ("active", ["fair", "bad", "good", "notes"]),
    ],
)
def test_runs_are_sorted_by_any_column_and_those_without_come_last(column, order, artifacts):
    answer = json.loads(runs("--artifacts", artifacts, "--sort", column, "--json").stdout)
    assert [run["run"] for run in answer] == order
    assert answer[-1]["top1_error"] is None


def test_a_folder_without_runs_says_so(tmp_path):
    assert runs("--artifacts", tmp_path).stdout == f"there are no runs in {tmp_path / 'runs'}\n"
    assert runs("--artifacts", tmp_path, "--json").stdout == "[]\n"

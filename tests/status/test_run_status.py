"""The status of a run, for people and for programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ledgers import ledger_in

from resnet.ledger.state_files import read_state, write_state
from resnet.locks import locked
from resnet.status import read_status


def resnet(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "resnet", *map(str, arguments)], capture_output=True, text=True)


def test_each_stage_has_a_line_with_its_state_and_the_last_line_says_what_is_next(made):
    lines = read_status(made).lines()
    assert lines[0] == f"run mine (recipe digits) in {made.run.artifacts}"
    assert [line.split()[0] for line in lines[1:6]] == [
        "ConvertRecords",
        "Train",
        "BatchNormStatistics",
        "Evaluate",
        "Report",
    ]
    assert "top-1 error 100.00 %" in lines[4]
    assert lines[5].split(maxsplit=1) == ["Report", "missing      it has not run yet"]
    assert lines[6] == "FullRun would run Report: how long that takes, no earlier run tells."


def test_a_run_that_has_not_begun_is_said_to_be_new(tmp_path):
    assert read_status(ledger_in(tmp_path, recipe="digits", name="mine")).lines()[1] == "run mine has not begun"


def test_a_luigi_that_is_between_two_stages_is_named(made):
    with locked(made.run.folder):
        assert f"luigi is at work on it (pid {os.getpid()} on " in read_status(made).lines()[1]


def test_the_command_answers_with_json_and_exits_with_0_only_where_all_is_up_to_date(made):
    asked = resnet("status", "--run", "mine", "--artifacts", made.run.artifacts, "--json")
    assert asked.returncode == 1
    answer = json.loads(asked.stdout)
    assert answer["run"] == "mine"
    assert [(stage["stage"], stage["state"]) for stage in answer["stages"]] == [
        ("convert", "up to date"),
        ("train", "up to date"),
        ("batchnorm", "up to date"),
        ("evaluate", "up to date"),
        ("report", "missing"),
    ]
    assert answer["next"] == ["report"]


def test_where_fullrun_would_stop_and_ask_the_status_says_so(made):
    path = made.run.stage_folder("train") / "stage.json"
    write_state(path, read_state(path) | {"worked_seconds": 7200.0})
    changed = ["--run", "mine", "--artifacts", made.run.artifacts, "--override", "training.learning_rate=0.7"]
    said = resnet("status", *changed).stdout
    assert "It asks first:\n  train would be made again, and 2 h 00 min of work in" in said
    assert "    training.learning_rate was 0.1, now 0.7" in said
    assert json.loads(resnet("status", "--json", *changed).stdout)["refusal"].startswith("train would be made again")
    assert "It asks first" not in resnet("status", *changed, "--discard", "train").stdout


def test_a_name_that_is_nearly_a_runs_is_no_new_run(made):
    asked = resnet("status", "--run", "mines", "--artifacts", made.run.artifacts)
    assert asked.returncode == 1
    assert "there is no run 'mines'; did you mean mine? A new run of that name needs --recipe." in asked.stderr

"""Contenders in turn: who is asked when, what is left out, and what the table says."""

from __future__ import annotations

from typing import Any

import pytest
from pjrt_step import fed_table
from step_measuring import WARM_UP, Group, table, times
from step_process import StepProcess
from step_task import LeftOut
from train_step import checkpoint_cost


class StandIn:
    """A contender that takes so many seconds a step, and notes whenever it is asked."""

    def __init__(self, name: str, seconds: float, asked: list[tuple[str, int]], loss: float = 1.0, lives: int = 99):
        self.facts = {"versions": f"{name} 1.0", "device": "CPU"}
        self._name, self._seconds, self._asked, self._loss, self._lives = name, seconds, asked, loss, lives
        self.closed = False

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        self._asked.append((self._name, arguments["steps"]))
        self._lives -= 1
        if self._lives < 0:
            raise LeftOut("its process ended with exit code 1")
        return {"seconds": self._seconds * arguments["steps"], "loss": self._loss}

    def close(self) -> None:
        self.closed = True


def test_each_contender_warms_up_and_then_all_take_turns_with_as_many_steps_as_fit_into_a_round():
    asked: list[tuple[str, int]] = []
    group = Group(batch=8)
    for name, seconds in (("A", 0.5), ("B", 1.0), ("C", 9.0)):
        group.add(name, lambda name=name, seconds=seconds: StandIn(name, seconds, asked), seconds=3)
    assert asked == [("A", WARM_UP), ("A", 1), ("B", WARM_UP), ("B", 1), ("C", WARM_UP), ("C", 1)]
    asked.clear()
    group.round(1)
    group.round(2)
    assert asked == [("A", 6), ("B", 3), ("C", 1)] * 2
    found = group.summary()
    assert {name: figure["rounds"] for name, figure in found.items()} == {
        "A": [16.0, 16.0],
        "B": [8.0, 8.0],
        "C": [8 / 9, 8 / 9],
    }


def test_a_contender_that_cannot_start_dies_or_diverges_is_left_out_with_its_reason(capsys):
    def missing() -> Any:
        raise LeftOut("No module named 'torch'")

    group, asked = Group(batch=8), []
    dying = StandIn("dying", 1, asked, lives=3)
    group.add("missing", missing, 1)
    group.add("diverging", lambda: StandIn("diverging", 1, asked, loss=float("nan")), 1)
    group.add("dying", lambda: dying, 1)
    group.add("sound", lambda: StandIn("sound", 1, asked), 1)
    group.round(1)
    group.round(2)
    assert group.left_out == {
        "missing": "No module named 'torch'",
        "diverging": "its loss became nan",
        "dying": "its process ended with exit code 1",
    }
    assert list(group.summary()) == ["sound"]
    assert dying.closed
    assert "left out: missing: No module named 'torch'" in capsys.readouterr().err


def test_the_ratio_is_the_median_over_pairs_of_rounds():
    assert times({"rounds": [10, 4, 30]}, {"rounds": [10, 1, 10]}) == 3.0


def test_the_table_has_medians_spreads_and_how_many_times_as_fast_the_first_is():
    ours = {"rate": 12.0, "rounds": [10.0, 12.0, 14.0], "versions": "TensorFlow 2"}
    other = {"rate": 6.0, "rounds": [5.0, 6.0, 8.0], "versions": "PyTorch 2"}
    assert table({"ours": ours, "PyTorch": other}, "ours")[2:] == [
        "| ours | 12.0 (10.0 to 14.0) |  | TensorFlow 2 |",
        "| PyTorch | 6.0 (5.0 to 8.0) | 2.00 times as fast | PyTorch 2 |",
    ]


def test_the_table_of_fed_steps_compares_each_round_with_the_step_alone():
    fed = {4: [{"rate": 98.0, "waiting_percent": 1.0}, {"rate": 50.0, "waiting_percent": 3.0}]}
    assert fed_table(fed, {"rounds": [100.0, 50.0]})[2:] == ["| 4 | 74.0 (50.0 to 98.0) | 99.0 % | 2.0 % |"]


def test_the_share_of_checkpoints_counts_saving_against_steps_and_saving():
    cost = checkpoint_cost([{"seconds": s, "bytes": 5} for s in (1.0, 9.0, 2.0)], step_seconds=0.98, every=100)
    assert cost == {"every": 100, "seconds": [1.0, 9.0, 2.0], "bytes": 5, "percent": 2.0}


def test_an_interpreter_that_is_not_there_leaves_the_contender_out(tmp_path):
    with pytest.raises(LeftOut, match="cannot be started: No such file or directory"):
        StepProcess("PyTorch", "step_torch:TorchStep", {}, str(tmp_path / "python"))


def test_a_module_that_is_not_installed_leaves_the_contender_out():
    with pytest.raises(LeftOut, match="No module named 'no_such_module'"):
        StepProcess("PyTorch", "no_such_module:Step", {})


def test_a_process_that_is_killed_while_it_waits_leaves_the_contender_out(tmp_path, monkeypatch):
    (tmp_path / "waiting.py").write_text("class Waiting:\n    facts = {}\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = StepProcess("waiting", "waiting:Waiting", {})
    process._process.kill()
    process._process.wait()
    with pytest.raises(LeftOut, match="its process ended with exit code -9"):
        process.ask("run", steps=1)
    process.close()

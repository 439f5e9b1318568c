"""How long stages would take, by earlier runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ledgers import ledger_in
from made_runs import MadeRun

from resnet.checked_json import write_json
from resnet.ledger import Ledger
from resnet.status.forecast import START_SECONDS, forecast


def took(ledger: Ledger, stage: str, seconds: float) -> None:
    """Let a finished stage have taken so many seconds."""
    path = ledger.run.stage_folder(stage) / "stage.json"
    record = json.loads(path.read_text())
    del record["checksum"]
    write_json(path, record | {"worked_seconds": seconds})


def like(ledger: Ledger, *overrides: str, name: str = "new") -> Ledger:
    """A new run with this one's settings, and others."""
    sizes = ["model.image_size=16", "evaluation.shorter_side=16", "training.batch_size=4"]
    settings = [*sizes, "training.replica_batch_size=4", *overrides]
    return ledger_in(ledger.run.artifacts, *settings, name=name)


def seconds(ledger: Ledger, stage: str, done: float = 0.0) -> float | None:
    return forecast(ledger, {stage: done}).seconds[stage]


def test_a_training_takes_as_long_an_image_as_earlier_ones(made):
    took(made, "train", 400.0)  # for 40 epochs
    assert seconds(like(made), "train") == pytest.approx(400 + START_SECONDS)
    assert seconds(like(made, "training.epochs=80"), "train") == pytest.approx(800 + START_SECONDS)


def test_what_is_done_already_takes_no_time(made):
    took(made, "train", 400.0)
    assert seconds(like(made), "train", done=0.75) == pytest.approx(100 + START_SECONDS)


def test_the_median_of_the_earlier_runs_counts(made, tmp_path):
    took(made, "train", 400.0)
    for name, time in (("slow", 4000.0), ("fast", 200.0)):
        took(MadeRun(name=name).write(tmp_path / "artifacts"), "train", time)
    assert seconds(like(made), "train") == pytest.approx(400 + START_SECONDS)


@pytest.mark.parametrize("override", ["model.depth=32", "training.precision=bfloat16", "training.replica_batch_size=2"])
def test_a_network_of_another_kind_says_nothing(override, made):
    assert seconds(like(made, override), "train") is None


def test_where_one_stage_is_unknown_so_is_the_whole(made):
    found = forecast(like(made), {"train": 0.0, "report": 0.0})
    assert found.unknown == ["report"]
    assert found.total is None


def test_imported_weights_took_no_training(made):
    path = made.run.stage_folder("train") / "stage.json"
    record = json.loads(path.read_text())
    del record["checksum"]
    write_json(path, record | {"imported": {"file": "a.pth"}})
    assert seconds(like(made), "train") is None


def test_a_record_that_cannot_be_believed_is_left_out(made):
    (made.run.stage_folder("train") / "stage.json").write_text("{")
    assert seconds(like(made), "train") is None


def test_a_folder_without_runs_says_nothing(tmp_path: Path):
    found = forecast(ledger_in(tmp_path), {"convert": 0.0, "train": 0.0})
    assert found.total is None
    assert found.unknown == ["convert", "train"]

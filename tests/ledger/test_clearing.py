"""Results that move to the trash because their stage is to be run again."""

from __future__ import annotations

import pytest
from ledgers import begin, finish

from resnet.checked_json import read_json
from resnet.errors import LockedElsewhere
from resnet.ledger import Ledger
from resnet.ledger.clearing import clear
from resnet.ledger.displacing import LABEL, STALE
from resnet.locks import locked
from resnet.stage_table import STAGES


def incomplete(ledger: Ledger) -> list[str]:
    return [name for name in STAGES if ledger.record(name) is None]


def stale(ledger: Ledger) -> list[str]:
    return [name for name in STAGES if (ledger.run.stage_folder(name) / STALE).exists()]


def trashed(ledger: Ledger) -> list[str]:
    return sorted(path.name.split("-")[-1] for path in (ledger.run.artifacts / "trash").iterdir())


def test_a_stage_and_all_that_depends_on_it_make_room(finished):
    assert clear(finished, "batchnorm", only=False) == ["batchnorm", "evaluate", "report"]
    assert incomplete(finished) == trashed(finished) == ["batchnorm", "evaluate", "report"]
    assert stale(finished) == []


def test_a_stage_alone_makes_room_and_what_depends_on_it_stays_and_is_stale(finished):
    assert clear(finished, "batchnorm", only=True) == ["batchnorm"]
    assert incomplete(finished) == ["batchnorm"]
    assert stale(finished) == ["evaluate", "report"]


def test_what_comes_out_the_same_is_not_stale_any_more(finished):
    clear(finished, "batchnorm", only=True)
    finish(finished, "batchnorm")
    assert stale(finished) == []


def test_the_trash_says_where_results_come_from_and_why(finished):
    clear(finished, "report", only=False)
    (folder,) = (finished.run.artifacts / "trash").iterdir()
    label = read_json(folder / LABEL, set(), "")
    assert label == {"stage": "report", "run": "digits", "folder": "runs/digits/report", "why": "it is run again"}


def test_what_was_interrupted_makes_room_too_and_what_never_ran_does_not(ledger_for):
    ledger = ledger_for()
    finish(ledger, "convert")
    begin(ledger, "train")
    assert clear(ledger, "train", only=False) == ["train"]
    assert not list(ledger.run.stage_folder("train").glob("*.json"))


def test_a_stage_whose_record_is_corrupt_makes_room(finished):
    (finished.run.stage_folder("train") / "stage.json").write_text("{")
    assert clear(finished, "train", only=True) == ["train"]


def test_nothing_moves_while_a_stage_of_them_is_at_work(finished, monkeypatch):
    monkeypatch.setattr("resnet.ledger.clearing.KILLED_SECONDS", 0.0)
    with locked(finished.run.stage_folder("evaluate")), pytest.raises(LockedElsewhere):
        clear(finished, "train", only=False)
    assert incomplete(finished) == []

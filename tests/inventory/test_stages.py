"""The state of a stage, as its folder shows it."""

from __future__ import annotations

import shutil

import pytest
from ledgers import begin, finish

from resnet.inventory import State, read_inventory
from resnet.inventory.stages import count_at, number_at, read_stage, time_of
from resnet.ledger.locking import importing
from resnet.locks import locked
from resnet.stage_table import STAGES

FILE = {"file": "/weights/resnet20.safetensors", "sha256": "ab" * 32}


def states(ledger) -> dict[str, State]:
    (run,) = read_inventory(ledger.run.artifacts).runs
    return {name: facts.state for name, facts in run.stages.items()}


def test_a_run_has_the_state_of_each_stage(finished):
    assert states(finished) == dict.fromkeys(STAGES, State.FINISHED)


def test_a_stage_that_has_begun_is_running_while_it_is_locked_and_interrupted_afterwards(ledger_for):
    ledger = ledger_for()
    finish(ledger, "convert")
    folder = begin(ledger, "train").folder
    with locked(folder):
        assert states(ledger)["train"] is State.RUNNING
    assert states(ledger)["train"] is State.INTERRUPTED
    assert states(ledger)["evaluate"] is State.MISSING


def test_a_conversion_whose_parts_several_processes_make_together_is_running(ledger_for):
    ledger = ledger_for()
    begin(ledger, "convert")
    with locked(ledger.run.records, shared=True):
        assert read_stage(ledger.run.records).state is State.RUNNING


def test_a_stage_that_reads_a_finished_one_does_not_make_it_running(finished):
    with locked(finished.run.stage_folder("train"), shared=True):
        assert states(finished)["train"] is State.FINISHED


def test_looking_changes_nothing(ledger_for):
    ledger = ledger_for()
    begin(ledger, "convert")
    before = sorted(ledger.run.artifacts.rglob("*"))
    assert read_inventory(ledger.run.artifacts).runs
    assert sorted(ledger.run.artifacts.rglob("*")) == before


def test_what_was_marked_stale_is_stale(finished):
    (finished.run.stage_folder("report") / "stale.txt").write_text("the results moved away")
    assert [name for name, state in states(finished).items() if state is State.STALE] == ["report"]


def test_what_was_made_from_other_results_is_stale_with_all_that_depends_on_it(finished):
    shutil.rmtree(finished.run.stage_folder("batchnorm"))  # as somebody does who wants it made again
    finish(finished, "batchnorm", "another result")
    (run,) = read_inventory(finished.run.artifacts).runs
    assert run.stages_in(State.STALE) == ["evaluate", "report"]
    assert run.stages["evaluate"].why == "batchnorm has changed since"
    assert run.stages["report"].why == "batchnorm has changed since, evaluate is stale"


def test_the_same_result_again_leaves_what_depends_on_it_done(finished):
    (finished.run.stage_folder("batchnorm") / "stage.json").unlink()
    finish(finished, "batchnorm")
    assert State.STALE not in states(finished).values()


def test_imported_stages_are_imported_whatever_becomes_of_the_records(ledger_for):
    ledger = ledger_for()
    with importing(ledger, ("train", "batchnorm"), FILE) as attempts:
        for attempt in attempts:
            attempt.begin()
        for attempt in attempts:
            attempt.finish([])
    finish(ledger, "convert")
    assert states(ledger)["train"] is states(ledger)["batchnorm"] is State.IMPORTED


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b"{}", b"[" * 100_000, b'{"version": 1, "checksum": "x"}'])
def test_a_state_file_that_cannot_be_believed_is_a_problem_of_its_run_and_of_no_other_stage(finished, content):
    (finished.run.stage_folder("evaluate") / "stage.json").write_bytes(content)
    (run,) = read_inventory(finished.run.artifacts).runs
    assert run.stages_in(State.UNREADABLE) == ["evaluate"]
    assert run.state is State.UNREADABLE
    assert str(finished.run.stage_folder("evaluate")) in run.problems[0]


def test_a_run_as_a_whole_has_the_state_that_most_needs_attention(finished):
    def state() -> State:
        (run,) = read_inventory(finished.run.artifacts).runs
        return run.state

    assert state() is State.FINISHED
    (finished.run.stage_folder("evaluate") / "stale.txt").touch()
    assert state() is State.STALE
    (finished.run.stage_folder("report") / "stage.json").unlink()
    assert state() is State.INTERRUPTED
    with locked(finished.run.stage_folder("report")):
        assert state() is State.RUNNING


@pytest.mark.parametrize("value", [None, "3", True, float("nan"), float("inf"), {}, []])
def test_only_a_finite_number_is_a_number(value):
    assert number_at({"a": {"b": value}}, "a", "b") is None
    assert number_at({"a": {"b": 2.5}}, "a", "b") == 2.5
    assert number_at({"a": value}, "a", "b") is None


def test_only_a_whole_number_of_at_least_0_is_a_count():
    assert [count_at({"n": value}, "n") for value in (3, 3.0, -1, 2.5)] == [3, 3, None, None]


@pytest.mark.parametrize("text", [None, 3, "", "yesterday", "2026-13-01T00:00:00+00:00"])
def test_what_is_no_time_is_unknown(text):
    assert time_of(text) is None


def test_a_time_without_an_offset_counts_as_utc():
    assert time_of("2026-01-01T10:00:00") == time_of("2026-01-01T12:00:00+02:00")

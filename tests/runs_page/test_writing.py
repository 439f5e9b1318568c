"""When the page is written, and that it stops no work."""

from __future__ import annotations

import platform
import re
import threading
import time

import pytest
from ledgers import ledger_in

from resnet import stages
from resnet.runs_page import INDEX, RunsPage, kept_current, page


@pytest.fixture
def digits(tmp_path):
    """A digits run, of which nothing is done yet."""
    return ledger_in(tmp_path / "artifacts").run


@pytest.fixture
def stage_that(monkeypatch):
    """stage_that(main): ConvertRecords does that instead of its work."""

    def replace(main) -> None:
        monkeypatch.setattr("resnet.stages.convert.main", main)

    return replace


def states_shown(run) -> str:
    return " ".join(re.findall(r'class="state headline [a-z-]+">([^<]*)', (run.artifacts / INDEX).read_text()))


def test_a_stage_is_shown_as_running_from_its_begin_on_and_as_done_afterwards(digits, stage_that):
    seen = []

    def main(run, attempt):
        attempt.begin()
        seen.append(states_shown(run))
        attempt.finish([])

    stage_that(main)
    stages.run_stage("convert", digits)
    assert seen == ["running: ConvertRecords"]
    assert states_shown(digits) == "missing: Train, BatchNormStatistics, Evaluate, Report"


@pytest.mark.parametrize("error", [OSError("the disk is on fire"), KeyboardInterrupt()])
def test_a_stage_that_fails_or_is_interrupted_is_shown_as_interrupted(digits, stage_that, error):
    def main(run, attempt):
        attempt.begin()
        raise error

    stage_that(main)
    with pytest.raises(type(error)):
        stages.run_stage("convert", digits)
    assert states_shown(digits) == "interrupted: ConvertRecords"


def test_a_part_of_a_conversion_is_shown(digits, tmp_path):
    run = ledger_in(tmp_path / "artifacts", "records.parts=2").run
    stages.run_part(run, 0)
    assert states_shown(run) == "interrupted: ConvertRecords"


def test_where_there_is_no_artifacts_folder_none_is_made(tmp_path, capsys):
    RunsPage(tmp_path / "missing").write()
    assert not (tmp_path / "missing").exists()
    assert capsys.readouterr().err == ""


def test_a_page_that_cannot_be_written_is_one_warning_and_the_work_goes_on(digits, stage_that, capsys):
    (digits.artifacts / INDEX).mkdir(parents=True)

    def main(run, attempt):
        attempt.begin()
        attempt.finish([])

    stage_that(main)
    stages.run_stage("convert", digits)
    warning = capsys.readouterr().err
    assert warning.count("cannot be written") == 1
    assert f"{digits.artifacts / INDEX} cannot be written: Is a directory" in warning
    assert not list(digits.artifacts.glob(f".{INDEX}*"))


def test_a_bug_in_the_page_is_a_warning_with_its_traceback(tmp_path, monkeypatch, capsys):
    def fail(artifacts):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(page, "render", fail)
    with kept_current(tmp_path):
        pass
    warning = capsys.readouterr().err
    assert "ZeroDivisionError: a bug" in warning
    assert "Traceback" in warning


def test_the_pages_own_failure_does_not_hide_that_of_the_work(tmp_path):
    (tmp_path / INDEX).mkdir()
    with pytest.raises(ValueError, match="the work"), kept_current(tmp_path):
        raise ValueError("the work failed")


def test_a_training_of_short_epochs_does_not_write_the_page_after_each(tmp_path, monkeypatch):
    now, written = [1000.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    followed = RunsPage(tmp_path)
    monkeypatch.setattr(followed, "write", lambda: written.append(now[0]))
    for now[0] in (1000.0, 1005.0, 1019.9, 1020.0, 1039.0, 1100.0):
        followed.follow()
    assert written == [1000.0, 1020.0, 1100.0]


def test_what_killed_writers_of_the_page_left_is_deleted(tmp_path):
    (tmp_path / f".{INDEX}.{platform.node()}-99999999-ab.partial").touch()
    RunsPage(tmp_path).write()
    assert [path.name for path in tmp_path.iterdir()] == [INDEX]


def test_a_reader_never_sees_half_a_page_while_several_write_it(tmp_path, capsys):
    def write() -> None:
        for _ in range(3):
            RunsPage(tmp_path).write()

    write()
    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert (tmp_path / INDEX).read_text().endswith("</html>")
    assert capsys.readouterr().err == ""
    assert [path.name for path in tmp_path.iterdir()] == [INDEX]

"""The file that has what an attempt at a stage said."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from resnet.console import UNSHOWN
from resnet.errors import UserError
from resnet.progress import PROGRESS, Progress, keep_in
from resnet.stage_log import last_error, last_lines, stage_log

logger = logging.getLogger("resnet.stages.train")


def texts(path: Path) -> list[str]:
    """The lines without their times, each of which is checked."""
    lines = path.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", line) for line in lines)
    return [line[21:] for line in lines]


def test_messages_are_written_as_they_are_shown_and_each_line_has_its_time(tmp_path):
    with stage_log() as log:
        log.start(tmp_path / "log-1.txt")
        logger.info("one\ntwo")
        logger.warning("slow")
    logger.info("after its end")
    assert texts(tmp_path / "log-1.txt") == ["one", "two", "warning: train: slow"]


def test_what_a_stage_prints_is_written_too(tmp_path):
    code = f"""
from pathlib import Path
from resnet import console
from resnet.stage_log import stage_log
console.configure()
with stage_log() as log:
    print("before")
    log.start(Path({str(tmp_path)!r}) / "log-1.txt")
    print("train: ResNet-20")
    print("no end of its line", end="")
print(" after")
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "before\ntrain: ResNet-20\nno end of its line after\n"
    assert texts(tmp_path / "log-1.txt") == ["train: ResNet-20", "no end of its line"]


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (UserError("no room. Make some."), "error: no room. Make some."),
        (KeyboardInterrupt(), "interrupted"),
        (ZeroDivisionError("a bug"), "error: ZeroDivisionError: a bug"),
        (OSError(28, "No space left on device"), "error: OSError: [Errno 28] No space left on device"),
    ],
)
def test_the_log_ends_with_the_error_that_ended_the_stage(error, last, tmp_path):
    def stage() -> None:
        with stage_log() as log:
            log.start(tmp_path / "log-1.txt")
            raise error

    with pytest.raises(type(error)):
        stage()
    assert last_lines(tmp_path / "log-1.txt", 1) == [last]


def test_an_error_of_several_lines_is_found_by_its_first(tmp_path):
    def stage() -> None:
        with stage_log() as log:
            log.start(tmp_path / "log-1.txt")
            raise UserError("two images cannot be read:\na.jpg\nb.jpg")

    with pytest.raises(UserError):
        stage()
    assert last_error(tmp_path / "log-1.txt") == "two images cannot be read:"


def test_an_error_before_work_went_on_is_not_what_the_attempt_ended_with(tmp_path):
    with stage_log() as log:
        log.start(tmp_path / "log-1.txt")
        logger.error("stalled")
        logger.info("it goes on")
    assert last_error(tmp_path / "log-1.txt") == ""


def test_a_progress_bar_is_lines_in_the_log(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("resnet.progress.LINE_SECONDS", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with stage_log() as log:
        log.start(tmp_path / "log-1.txt")
        with Progress("training", 2, "steps") as progress:
            progress.advance(1, "loss 2.303")
            progress.advance(1, "loss 2.302")
    assert [line.partition(", loss")[0] for line in texts(tmp_path / "log-1.txt")] == [
        "training: 1 of 2 steps",
        "training: 2 of 2 steps",
    ]
    assert "training: 1 of 2 steps" not in capsys.readouterr().err


def test_a_message_that_is_shown_in_another_way_is_only_in_the_log(tmp_path, capsys):
    with stage_log() as log:
        log.start(tmp_path / "log-1.txt")
        logger.error("stalled", extra=UNSHOWN)
    assert texts(tmp_path / "log-1.txt") == ["error: stalled"]
    assert capsys.readouterr().err == ""


def test_a_log_that_cannot_be_opened_is_one_warning(tmp_path, capsys):
    with stage_log() as log:
        log.start(tmp_path / "missing" / "log-1.txt")
        logger.info("all goes on")
    assert "log-1.txt cannot be written, and ends here: No such file" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_log_on_a_full_disk_is_one_warning(tmp_path, capsys):
    (tmp_path / "log-1.txt").symlink_to("/dev/full")
    with stage_log() as log:
        log.start(tmp_path / "log-1.txt")
        logger.info("one")
        logger.info("two")
    said = capsys.readouterr().err
    assert said.count("cannot be written, and ends here: No space left on device") == 1
    assert {"one", "two"} <= set(said.splitlines())


def test_progress_is_kept_in_a_file_while_the_work_lasts(tmp_path):
    with keep_in(tmp_path):
        with Progress("converting", 4, "images") as progress:
            progress.advance(1, "1 MB")
        said = json.loads((tmp_path / PROGRESS).read_text())
    assert said["fraction"] == 0.25
    assert said["message"].startswith("converting: 1 of 4 images, 1 MB")
    assert said["seconds_left"] >= 0
    assert list(tmp_path.iterdir()) == []


def test_what_was_said_last_is_said_until_there_is_something_new(tmp_path, monkeypatch):
    monkeypatch.setattr("resnet.progress.time.monotonic", iter(range(1000)).__next__)  # a second between two looks
    with keep_in(tmp_path), Progress("training", 4, "steps") as progress:
        progress.advance(1, "loss 2.3")
        progress.advance()
        assert json.loads((tmp_path / PROGRESS).read_text())["message"].startswith("training: 2 of 4 steps, loss 2.3")


def test_progress_stays_where_the_work_was_interrupted(tmp_path):
    def stage() -> None:
        with keep_in(tmp_path), Progress("converting", 2, "images") as progress:
            progress.advance()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage()
    assert [path.name for path in tmp_path.iterdir()] == [PROGRESS]


def test_progress_that_cannot_be_kept_stops_nothing(tmp_path):
    with keep_in(tmp_path / "missing"), Progress("converting", 1, "images") as progress:
        progress.advance()


def test_a_letter_that_comes_in_two_pieces_is_whole(tmp_path):
    with stage_log() as log:
        log.start(tmp_path / "log-1.txt")
        for piece in ("größe\n".encode()[:3], "größe\n".encode()[3:]):
            log._take(piece)
    assert texts(tmp_path / "log-1.txt") == ["größe"]


def test_of_a_long_log_only_whole_lines_are_shown(tmp_path):
    with stage_log() as log:
        log.start(tmp_path / "log-1.txt")
        for number in range(100):
            log.write(f"{number} {'x' * (900 if number > 95 else 9)}")
    assert [line.split()[0] for line in last_lines(tmp_path / "log-1.txt", 3)] == ["99"]
    assert last_lines(tmp_path / "log-1.txt", 100)[0].split()[0] == "0"

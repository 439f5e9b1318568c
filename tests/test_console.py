"""Where messages go, and how they share a terminal with the progress bar."""

from __future__ import annotations

import io
import json
import logging
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from typing import TextIO

import pytest

from resnet import console, progress
from resnet.progress import ENVIRONMENT, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def standard_error(monkeypatch):
    """standard_error(file): `file` replaces sys.stderr. Call it in the test: pytest restores sys.stderr after setup."""
    monkeypatch.setenv("COLUMNS", "81")  # tqdm leaves one column free
    monkeypatch.setenv("LINES", "25")
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)

    def use(file: io.StringIO) -> io.StringIO:
        monkeypatch.setattr(sys, "stderr", file)
        return file

    return use


def test_a_message_is_plain_text_and_a_warning_names_its_component(standard_error):
    log = standard_error(io.StringIO())
    logging.getLogger("resnet.loader.worker").info("a worker started")
    logging.getLogger("resnet.loader.worker").warning("a worker ended")
    logging.getLogger("resnet.stages.train").warning("slow")
    assert log.getvalue().splitlines() == [
        "a worker started",
        "warning: loader: a worker ended",
        "warning: train: slow",
    ]


def test_configuring_twice_shows_each_message_once(standard_error):
    log = standard_error(io.StringIO())
    console.configure()
    console.configure()
    logging.getLogger("resnet.files").info("once")
    assert log.getvalue() == "once\n"


def test_a_message_to_a_closed_pipe_does_not_raise(monkeypatch, closed_pipe):
    monkeypatch.setattr(sys, "stderr", console.dropping(closed_pipe))
    logging.getLogger("resnet.files").info("unheard")
    print("unheard", file=sys.stderr, flush=True)
    with Progress("training", 2, "steps") as bar:
        bar.advance(2)


@pytest.fixture
def closed_pipe() -> Iterator[TextIO]:
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        yield pipe


def test_what_is_written_after_a_failure_arrives(tmp_path):
    with open(tmp_path / "log", "w") as file:
        stream = console.dropping(file)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # as on a full disk
        try:
            print("lost", file=stream)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        print("found", file=stream)
    assert (tmp_path / "log").read_text() == "found\n"


def test_a_process_without_standard_error_can_still_write_to_it():
    print("unheard", file=console.dropping(None))


WRITE_EVERYWHERE = """
import logging, sys
from resnet import console
from resnet.progress import Progress

console.configure()
console.configure()
for _ in range(3):
    print("result", flush=True)
    print("unflushed", end="")
    print("note", file=sys.stderr)
    logging.getLogger("resnet.files").warning("message")
    sys.stderr.isatty = lambda: True
    with Progress("training", 2, "steps") as bar:
        bar.advance(2)
sys.stdout.buffer.write(b"x" * 100_000)
sys.exit(3)
"""


@pytest.mark.parametrize("path", ["closed pipe", "/dev/full"])
def test_a_process_whose_output_nobody_can_read_works_to_its_end(path, request, tmp_path):
    """Its exit code is its own, and a last message does not end up elsewhere."""
    stream = request.getfixturevalue("closed_pipe") if path == "closed pipe" else open(path, "w")  # noqa: SIM115
    code = subprocess.run([sys.executable, "-c", WRITE_EVERYWHERE], stdout=stream, stderr=stream).returncode
    assert code == 3
    stream.close()


def test_a_process_whose_output_alone_is_lost_says_nothing_about_it(closed_pipe):
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-c", WRITE_EVERYWHERE], stdout=closed_pipe, stderr=subprocess.PIPE, text=True
    )
    assert ended.returncode == 3
    assert "Exception ignored" not in ended.stderr
    assert ended.stderr.count("warning: files: message") == 3


def test_a_message_on_a_terminal_is_a_separate_line_above_the_bar(standard_error):
    terminal = standard_error(Terminal())
    with Progress("training", 10, "steps") as bar:
        bar.advance(3, "loss 1.234", "600 images/s")
        logging.getLogger("resnet.training.loop").info("epoch 1/2: loss 1.0")
        bar.advance(7)
    lines = terminal.getvalue().replace("\r", "\n").splitlines()
    assert "epoch 1/2: loss 1.0" in lines
    bars = [line for line in lines if "|" in line]
    assert bars
    assert all(len(line) <= 80 for line in bars)
    assert "loss 1.234, 600 images/s" in bars[-1]
    assert "10/10" in bars[-1]


def test_the_bar_of_a_long_training_stays_visible_at_80_columns(standard_error):
    terminal = standard_error(Terminal())
    with Progress("training", 600_480, "steps", done=300_000) as bar:
        bar.advance(1, "loss 1.234", "1,600 images/s", "error 34.1 %", "epoch 61/120", "waiting 1 %")
        bar.advance(300_000)
    last = terminal.getvalue().replace("\r", "\n").splitlines()[-1]
    assert len(last) <= 80
    assert len(last.split("|")[1]) >= 5


def test_a_wide_terminal_shows_all_notes_and_a_line_of_a_log_the_time_left_too(standard_error, monkeypatch):
    terminal = standard_error(Terminal())
    notes = ("loss 1.234", "1,600 images/s", "error 34.1 %", "epoch 61/120", "waiting 1 %")
    monkeypatch.setenv("COLUMNS", "140")
    with Progress("training", 600_480, "steps", done=300_000) as bar:
        bar.advance(1, *notes)
        bar.advance(300_000)
    assert all(note in terminal.getvalue() for note in notes)
    log = standard_error(io.StringIO())
    clock = iter([0.0, *[100.0] * 9])
    monkeypatch.setattr("resnet.progress.time.monotonic", lambda: next(clock))
    with Progress("training", 100, "steps", done=50, line_seconds=60) as bar:
        bar.advance(10, *notes)
    assert log.getvalue() == f"training: 60 of 100 steps, {', '.join(notes)}, 6 min 40 s left\n"


def test_a_log_file_gets_a_line_every_tenth_and_no_carriage_returns(standard_error):
    log = standard_error(io.StringIO())
    with Progress("converting", 1000, "images") as bar:
        for _ in range(1000):
            bar.advance()
    lines = log.getvalue().split("\n")
    assert lines[:2] == ["converting: 100 of 1,000 images", "converting: 200 of 1,000 images"]
    assert len(lines) == 11  # the last one is empty
    assert "\r" not in log.getvalue()


def test_short_work_writes_no_progress_lines_to_a_log_file(standard_error, monkeypatch):
    log = standard_error(io.StringIO())
    monkeypatch.setattr(progress, "LINE_SECONDS", 60.0)
    with Progress("averaging statistics", 25, "batches") as bar:
        for _ in range(25):
            bar.advance()
    assert log.getvalue() == ""


def test_the_parent_process_receives_the_final_count(monkeypatch):
    reading, writing = os.pipe()
    monkeypatch.setenv(ENVIRONMENT, str(writing))
    with Progress("evaluating", 3, "images") as bar:
        for _ in range(3):
            bar.advance(1, "fast")
    os.close(writing)
    with open(reading) as pipe:
        updates = [json.loads(line) for line in pipe]
    assert updates[-1] == {"fraction": 1.0, "message": "evaluating: 3 of 3 images, fast"}


def test_a_preparation_has_no_part_in_the_fraction_that_the_parent_process_shows(monkeypatch):
    reading, writing = os.pipe()
    monkeypatch.setenv(ENVIRONMENT, str(writing))
    with Progress("checking", 3, "images", is_preparation=True) as bar:
        bar.advance(3)
    os.close(writing)
    with open(reading) as pipe:
        assert [json.loads(line) for line in pipe] == [{"message": "checking: 3 of 3 images"}]


def test_a_stage_with_lines_of_its_own_can_ask_for_progress_every_so_many_seconds(standard_error):
    log = standard_error(io.StringIO())
    with Progress("training", 100, "steps", line_seconds=0.0) as often, Progress("training", 100, "steps") as tenths:
        often.advance(3, "loss 1.0")
        tenths.advance(3)
    assert log.getvalue() == "training: 3 of 100 steps, loss 1.0\n"

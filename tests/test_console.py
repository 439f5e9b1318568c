"""Where messages go, and how they share a terminal with the progress bar."""

from __future__ import annotations

import io
import json
import logging
import os
import sys

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
    logging.getLogger("resnet.loader.worker_pool").info("a worker started")
    logging.getLogger("resnet.loader.worker_pool").warning("a worker ended")
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


def test_a_message_to_a_closed_pipe_does_not_raise(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stderr", pipe)
        logging.getLogger("resnet.files").info("unheard")
        monkeypatch.undo()
        with pytest.raises(BrokenPipeError):
            pipe.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # so that closing it succeeds


def test_a_message_on_a_terminal_is_a_separate_line_above_the_bar(standard_error):
    terminal = standard_error(Terminal())
    with Progress("training", 10, "steps") as bar:
        bar.advance(3, "loss 1.234, 600 images/s")
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
        bar.advance(1, "loss 1.234, 1,600 images/s")
        bar.advance(300_000)
    last = terminal.getvalue().replace("\r", "\n").splitlines()[-1]
    assert len(last) <= 80
    assert len(last.split("|")[1]) >= 5


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
            bar.advance(note="fast")
    os.close(writing)
    with open(reading) as pipe:
        updates = [json.loads(line) for line in pipe]
    assert updates[-1] == {"fraction": 1.0, "message": "evaluating: 3 of 3 images, fast"}


def test_a_stage_with_lines_of_its_own_can_ask_for_progress_every_so_many_seconds(standard_error):
    log = standard_error(io.StringIO())
    with Progress("training", 100, "steps", line_seconds=0.0) as often, Progress("training", 100, "steps") as tenths:
        often.advance(3, "loss 1.0")
        tenths.advance(3)
    assert log.getvalue() == "training: 3 of 100 steps, loss 1.0\n"

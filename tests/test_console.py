"""Messages: where they go, and that they never go through the progress bar."""

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
    """standard_error(Terminal()): takes its place, until the test ends. pytest would undo what a fixture does alone."""
    monkeypatch.setenv("COLUMNS", "81")  # tqdm leaves one free
    monkeypatch.setenv("LINES", "25")
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)

    def use(file: io.StringIO) -> io.StringIO:
        monkeypatch.setattr(sys, "stderr", file)
        return file

    return use


def test_a_message_is_its_text_and_a_warning_names_the_part_that_warns(standard_error):
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


def test_messages_to_a_pipe_that_nobody_reads_stop_nothing(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stderr", pipe)
        logging.getLogger("resnet.files").info("unheard")
        monkeypatch.undo()
        with pytest.raises(BrokenPipeError):
            pipe.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # so that closing it succeeds


def test_a_message_on_a_terminal_is_a_line_of_its_own_above_the_bar(standard_error):
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


def test_at_80_columns_the_bar_of_a_long_training_is_still_a_bar(standard_error):
    terminal = standard_error(Terminal())
    with Progress("training", 600_480, "steps", done=300_000) as bar:
        bar.advance(1, "loss 1.234, 1,600 images/s")
        bar.advance(300_000)
    last = terminal.getvalue().replace("\r", "\n").splitlines()[-1]
    assert len(last) <= 80
    assert len(last.split("|")[1]) >= 5


def test_a_log_file_gets_a_line_each_tenth_and_no_carriage_returns(standard_error):
    log = standard_error(io.StringIO())
    with Progress("converting", 1000, "images") as bar:
        for _ in range(1000):
            bar.advance()
    lines = log.getvalue().split("\n")
    assert lines[:2] == ["converting: 100 of 1,000 images", "converting: 200 of 1,000 images"]
    assert len(lines) == 11  # the last one is empty
    assert "\r" not in log.getvalue()


def test_work_that_is_soon_done_leaves_no_lines_in_a_log_file(standard_error, monkeypatch):
    log = standard_error(io.StringIO())
    monkeypatch.setattr(progress, "LINE_SECONDS", 60.0)
    with Progress("averaging statistics", 25, "batches") as bar:
        for _ in range(25):
            bar.advance()
    assert log.getvalue() == ""


def test_whoever_started_the_stage_gets_the_last_count(monkeypatch):
    reading, writing = os.pipe()
    monkeypatch.setenv(ENVIRONMENT, str(writing))
    with Progress("evaluating", 3, "images") as bar:
        for _ in range(3):
            bar.advance(note="fast")
    os.close(writing)
    with open(reading) as lines:
        news = [json.loads(line) for line in lines]
    assert news[-1] == {"fraction": 1.0, "message": "evaluating: 3 of 3 images, fast"}

"""The training log: written, resumed, and read after a crash; what happens when it cannot be."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from resnet.training.log import TrainingLog
from resnet.training.log_format import read_log


def numbers(loss: float = 1.25, seconds: float = 3.0) -> dict[str, float]:
    """What a line says besides its step."""
    speed = {"learning_rate": 0.1, "images_per_second": 690.0, "data_wait": 0.02}
    return {"epoch": 0.5, "loss": loss, "top1_error": 90.0, "top5_error": 50.0, "seconds": seconds} | speed


VALIDATED = {"epoch": 1.0, "validation_loss": 2.0, "validation_top1_error": 90.0, "seconds": 4.0}


def line(step: int) -> bytes:
    return json.dumps({"step": step} | numbers()).encode() + b"\n"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Files cannot grow beyond `size` bytes, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_lines_are_read_as_they_were_written(tmp_path):
    log = TrainingLog(tmp_path, 0)
    log.write(5, **numbers())
    log.write(5, **VALIDATED)
    log.close()
    assert read_log(log.path) == [{"step": 5} | numbers(), {"step": 5} | VALIDATED]


def test_steps_repeated_after_a_resume_are_in_the_log_once(tmp_path):
    first = TrainingLog(tmp_path, 0)
    for step in (10, 20, 30):
        first.write(step, **numbers(loss=step, seconds=step / 2))
    first.close()
    second = TrainingLog(tmp_path, 20)
    assert second.seconds_before == 10
    second.write(30, **numbers(loss=-1, seconds=20))
    second.close()
    assert [(line["step"], line["loss"]) for line in read_log(second.path)] == [(10, 10), (20, 20), (30, -1)]


def test_a_truncated_last_line_is_skipped(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(line(1) + line(2)[:9])
    assert [found["step"] for found in read_log(path)] == [1]


def test_a_missing_log_is_empty(tmp_path):
    assert read_log(tmp_path / "log.jsonl") == []


BROKEN = {
    "cut short": line(2)[:20],
    "not UTF-8": line(2).replace(b"loss", b"lo\xffs"),
    "zeros": bytes(500),
    "not an object": b"[1, 2]",
    "too deep": b"[" * 100_000,
    "a step of text": line(2).replace(b"2,", b'"2",', 1),
    "a step that is true": line(2).replace(b"2,", b"true,", 1),
    "no step": line(2).replace(b"step", b"stop"),
    "no time": line(2).replace(b"seconds", b"second"),
    "no loss": line(2).replace(b'"loss"', b'"less"'),
    "NaN seconds": line(2).replace(b"3.0", b"NaN"),
    "a number beyond floats": line(2).replace(b"1.25", b"1" * 400),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_line_is_skipped_and_counted_and_those_after_it_are_kept(tmp_path, kind):
    path = tmp_path / "log.jsonl"
    path.write_bytes(line(1) + BROKEN[kind].rstrip(b"\n") + b"\n" + line(3))
    lines = read_log(path)
    assert [found["step"] for found in lines] == [1, 3]
    assert lines.unreadable == 1


@given(st.binary() | st.text().map(str.encode) | st.integers(0, 200).map(lambda end: line(2)[:end]))
def test_whatever_stands_between_two_lines_these_are_read(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "log.jsonl"
    path.write_bytes(line(1) + text + b"\n" + line(3))
    lines = read_log(path)
    assert (lines[0]["step"], lines[-1]["step"]) == (1, 3)
    assert len(lines) + lines.unreadable == 2 + sum(bool(part) for part in text.split(b"\n"))


def test_training_goes_on_with_a_log_that_is_broken_and_says_so(tmp_path, capsys):
    path = tmp_path / "log.jsonl"
    path.write_bytes(line(1) + b"\xff\n" + line(3) + line(4)[:10])
    with TrainingLog(tmp_path, 3) as log:
        log.write(5, **numbers())
    assert [found["step"] for found in read_log(path)] == [1, 3, 5]
    assert f"2 lines of {path} cannot be read; they are left out" in capsys.readouterr().err


def test_training_goes_on_with_a_log_that_cannot_be_written_and_says_so_once(tmp_path, capsys):
    with TrainingLog(tmp_path, 0) as log:
        with largest_file(0):
            for step in (1, 2, 3):
                log.write(step, **numbers())
            log.sync()
        warnings = capsys.readouterr().err
        assert warnings.count(f"{log.path}: File too large; training goes on") == 1
        log.write(4, **numbers())
    assert [found["step"] for found in read_log(log.path)] == [1, 2, 3, 4]  # the disk had room again


@pytest.mark.usefixtures("capsys")  # what it captures in is no file
def test_a_line_that_a_full_disk_took_a_part_of_is_completed(tmp_path):
    with TrainingLog(tmp_path, 0) as log:
        with largest_file(len(line(1)) + 10):
            log.write(1, **numbers())
            log.write(2, **numbers())
        assert read_log(log.path).unreadable == 1
    assert [found["step"] for found in read_log(log.path)] == [1, 2]


@pytest.mark.parametrize("name", ["log.jsonl", "tensorboard"])
def test_training_goes_on_where_a_log_cannot_even_be_opened(tmp_path, name, capsys):
    if name == "log.jsonl":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("a file where the folder should be")
    with TrainingLog(tmp_path, 0) as log:
        log.write(1, **numbers())
        log.sync()
    reason = {"log.jsonl": "Is a directory", "tensorboard": "Not a directory"}[name]
    assert f"warning: training: {tmp_path / name}: {reason}; training goes on\n" in capsys.readouterr().err
    if name == "tensorboard":
        assert len(read_log(log.path)) == 1


def test_training_goes_on_when_tensorboards_log_cannot_be_written(tmp_path, monkeypatch, capsys):
    def fail(name, value):
        raise tf.errors.ResourceExhaustedError(None, None, f"{name}: No space left on device\nFailed to flush")

    monkeypatch.setattr(tf.summary, "scalar", fail)
    with TrainingLog(tmp_path, 0) as log:
        log.write(1, **numbers())
        log.write(2, **numbers())
    assert len(read_log(log.path)) == 2
    assert capsys.readouterr().err.count("No space left on device; training goes on") == 1

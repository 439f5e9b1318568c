"""The training log: written, resumed, and read after a crash."""

from __future__ import annotations

import json

from resnet.training.log import TrainingLog
from resnet.training.log_format import read_log


def test_lines_are_read_as_they_were_written(tmp_path):
    log = TrainingLog(tmp_path, 0)
    log.write(5, loss=1.25, seconds=3.0)
    log.close()
    assert read_log(log.path) == [{"step": 5, "loss": 1.25, "seconds": 3.0}]


def test_steps_repeated_after_a_resume_are_in_the_log_once(tmp_path):
    first = TrainingLog(tmp_path, 0)
    for step in (10, 20, 30):
        first.write(step, loss=step, seconds=step / 2)
    first.close()
    second = TrainingLog(tmp_path, 20)
    assert second.seconds_before == 10
    second.write(30, loss=-1, seconds=20)
    second.close()
    assert [(line["step"], line["loss"]) for line in read_log(second.path)] == [(10, 10), (20, 20), (30, -1)]


def test_a_truncated_last_line_is_skipped(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"step": 1, "seconds": 1}) + '\n{"step": 2, "lo')
    assert [line["step"] for line in read_log(path)] == [1]


def test_a_missing_log_is_empty(tmp_path):
    assert read_log(tmp_path / "log.jsonl") == []

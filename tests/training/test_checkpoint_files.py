"""What the headers of checkpoints say, without TensorFlow."""

from __future__ import annotations

import json

import numpy as np
from safetensors.numpy import save_file

from resnet.training.checkpoint_files import checkpoint_path, checkpoint_steps, known_corrupt_records


def write(folder, step: int, *corrupt: str) -> None:
    facts = {"step": step, "corrupt": corrupt, "sha256": ""}
    save_file({"weight": np.zeros(1, np.float32)}, checkpoint_path(folder, step), {"facts": json.dumps(facts)})


def test_the_newest_checkpoint_that_can_be_read_says_which_records_are_corrupt(tmp_path):
    write(tmp_path, 7, "first")
    write(tmp_path, 200_000_000, "first", "second")
    assert checkpoint_steps(tmp_path) == [7, 200_000_000]
    assert known_corrupt_records(tmp_path) == ["first", "second"]
    checkpoint_path(tmp_path, 200_000_000).write_bytes(b"cut short")
    assert known_corrupt_records(tmp_path) == ["first"]


def test_before_the_first_checkpoint_none_is_known(tmp_path):
    assert known_corrupt_records(tmp_path) == []
    assert known_corrupt_records(tmp_path / "checkpoints") == []

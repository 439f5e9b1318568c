"""Validation during training: the check before it, its scores, and how soon it heeds an interruption."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from resnet.errors import UserError
from resnet.hosts.meeting import Alone
from resnet.records.shards import ShardedRecords
from resnet.run import Run
from resnet.training.validation import Validation


class ConstantNetwork:
    """Predicts class 0 for each image, and notes how many images it has seen."""

    devices = 1

    def __init__(self, after_batch: Callable[[], None] = lambda: None):
        self.images, self._after_batch = 0, after_batch

    def __call__(self, images: np.ndarray, of_all: int) -> np.ndarray:
        assert of_all == len(images)  # of one host
        self.images += len(images)
        self._after_batch()
        return np.tile(np.float32([9, 0, 0]), (len(images), 1))


@pytest.fixture
def run(converted_copy, photographs, run_on, monkeypatch) -> Run:
    """A run on some photographs, converted before, with two validation images a batch."""
    monkeypatch.setattr("resnet.loader.batches.BLOCK", 2)
    return run_on(photographs, converted_copy.artifacts)


def validation_records(run: Run) -> ShardedRecords:
    return ShardedRecords(run.records, "validation")


def test_each_pass_sees_each_validation_image_once_and_the_check_shows_the_network_none(run):
    predictor, images = ConstantNetwork(), len(validation_records(run))
    with Validation(run, predictor, Alone()) as validation:
        validation.check()
        assert predictor.images == 0
        scores = [validation() for _ in range(2)]
    assert predictor.images == 2 * images
    assert scores[0] == scores[1]
    wrong = np.mean(validation_records(run).index["label"] != 0)
    assert scores[0]["top1_error"] == pytest.approx(100 * wrong)


def test_the_check_names_a_corrupt_record(run):
    records = validation_records(run)
    shard, offset, length, _ = records.index[-1].item()
    content = bytearray(records.shards[shard].read_bytes())
    content[offset + length // 2] ^= 1
    records.shards[shard].write_bytes(content)
    name = records.shards[shard].name
    expected = pytest.raises(UserError, match=f"{name}: the record at byte {offset} is corrupt")
    with Validation(run, ConstantNetwork(), Alone()) as validation, expected:
        validation.check()


def test_an_interruption_ends_a_validation_within_a_batch(run):
    meeting = Alone()
    predictor = ConstantNetwork(meeting.request_stop)
    with Validation(run, predictor, meeting) as validation, pytest.raises(KeyboardInterrupt):
        validation()
    assert predictor.images == 2


def test_an_interruption_ends_the_check_within_a_batch(run, monkeypatch):
    meeting, checked = Alone(), []

    def advance(progress, count):
        checked.append(count)
        meeting.request_stop()

    monkeypatch.setattr("resnet.progress.Progress.advance", advance)
    with Validation(run, ConstantNetwork(), meeting) as validation, pytest.raises(KeyboardInterrupt):
        validation.check()
    assert checked == [2]

"""Workers of the loader that end, hang, or take long over an image."""

from __future__ import annotations

import hashlib
import os
import signal

import pytest
from loader_streams import digests, training
from worker_scripts import use_script

from resnet.errors import UserError
from resnet.loader import loader as loader_module
from resnet.workers import pool

PATCHED = """
import os, signal, sys, time
import resnet.loader.worker as w
{patch}
w.serve(w.begin)
"""


@pytest.fixture
def soon(monkeypatch):
    """Shorter limits: the real ones take minutes."""
    monkeypatch.setattr(pool, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(loader_module, "STALLED_SECONDS", 3.0)  # on a busy machine a worker takes one to start


def patched(patch: str) -> str:
    """A worker of the loader, with some of its functions replaced."""
    return PATCHED.format(patch=patch)


def test_a_stuck_worker_is_replaced_and_the_stream_does_not_change(photo_records, soon, capfd):
    expected, found = digests(training(photo_records, last=40)), []
    with training(photo_records, last=40) as loader:
        for batch in loader:
            if batch.step == 2:
                known = next(worker for worker in loader.pool.workers if worker.identity)
                os.kill(known.process.pid, signal.SIGSTOP)
            found.append(hashlib.sha256(batch.images.tobytes() + batch.labels.tobytes()).hexdigest())
            del batch
    assert found == expected
    assert "was stuck for 3 s" in capfd.readouterr().err


def test_images_that_take_long_together_do_not_get_their_worker_killed(photo_records, soon, monkeypatch, capfd):
    slow = "w.show = lambda *_: time.sleep(0.3)"  # 16 of them make a job of 4.8 s
    use_script(monkeypatch, patched(slow))
    assert len(digests(training(photo_records, last=1, workers=1))) == 1
    assert "stuck" not in capfd.readouterr().err


def test_an_image_that_no_worker_survives_is_named(photo_records, soon, monkeypatch):
    offset, shard = photo_records.index["offset"][7], photo_records.index["shard"][7]
    deadly = f"""
at = w.Owner.at
def die(owner, what):
    at(owner, what)
    if what == "the record at byte {offset} of {photo_records.shards[shard]}":
        os._exit(9)
w.Owner.at = die
"""
    use_script(monkeypatch, patched(deadly))
    how = rf"ended with exit code 9 at the record at byte {offset} of {photo_records.shards[shard]}\."
    with pytest.raises(UserError, match=rf"^3 workers of the loader .* {how} Check the disk"):
        digests(training(photo_records))


def test_images_are_named_by_the_first_one_where_their_workers_note_none(photo_records, soon, monkeypatch):
    use_script(monkeypatch, patched("w.Worker.fill = lambda *_: os._exit(9)"))
    with pytest.raises(UserError, match=r"at \d+ records, the first one at byte \d+ of .*train-0000"):
        digests(training(photo_records))


def test_signals_to_workers_that_are_starting_do_not_end_them(photo_records, soon, capfd):
    with training(photo_records) as loader:
        while len(loader.pool.workers) != 2:
            pass
        for worker in loader.pool.workers:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(worker.process.pid, number)
        assert sum(1 for _ in loader) == 12
    assert capfd.readouterr().err == ""


def test_a_disk_that_is_away_for_a_moment_delays_the_stream_and_is_counted(photo_records, soon, monkeypatch, capfd):
    away = """
import errno
import resnet.records.shards as s
w.RecordReader = lambda shards, warn: s.RecordReader(shards, warn=warn, pause=lambda seconds: None)
pread, reads = os.pread, []
def fail_sometimes(descriptor, size, offset):
    reads.append(offset)
    if len(reads) in (5, 6, 100):
        raise OSError(errno.ESTALE, "Stale file handle")
    return pread(descriptor, size, offset)
os.pread = fail_sometimes
"""
    expected = digests(training(photo_records, workers=1))
    use_script(monkeypatch, patched(away))
    loader = training(photo_records, workers=1)
    assert digests(loader) == expected
    assert loader.retries == 3
    said = capfd.readouterr().err
    assert said.count("Stale file handle; it is opened and read again in") == 3
    assert said.startswith("warning: loader: ")

"""Workers that end, hang or never start."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys

import pytest
from loader_streams import digests, training

from resnet.errors import UserError
from resnet.loader import worker_pool


@pytest.fixture
def soon(monkeypatch):
    """Shorter limits: the real ones take minutes."""
    monkeypatch.setattr(worker_pool, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(worker_pool, "STALLED_SECONDS", 3.0)  # on a busy machine a worker takes one to start


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
    assert "a worker was stuck" in capfd.readouterr().err


def test_workers_that_never_answer_count_as_stuck(photo_records, soon, monkeypatch, capfd):
    silent = [sys.executable, "-c", "import signal; signal.pause()"]
    monkeypatch.setattr(worker_pool, "start_process", lambda *_: subprocess.Popen(silent))
    monkeypatch.setattr(worker_pool, "STALLED_SECONDS", 0.3)
    with pytest.raises(UserError, match="workers keep ending before they finish anything"):
        digests(training(photo_records, workers=1))
    assert capfd.readouterr().err.count("a worker was stuck") == 4


def test_images_that_no_worker_survives_are_named(photo_records, soon, monkeypatch):
    deadly = """
import os, sys, resnet.loader.worker as w
w.Worker.fill = lambda self, job, records: os._exit(9) if job.number == 1 else w.Filled()
w.main()
"""
    command = [sys.executable, "-c", deadly]

    def start(address: str, descriptor: int) -> subprocess.Popen:
        return subprocess.Popen([*command, address, str(descriptor), str(os.getpid())], pass_fds=(descriptor,))

    monkeypatch.setattr(worker_pool, "start_process", start)
    with pytest.raises(
        UserError, match=r"3 workers .* ended \(exit code 9\): 16 records, .* at byte \d+ of .*train-0000"
    ):
        digests(training(photo_records))


def test_a_fault_in_a_workers_code_shows_its_traceback(photo_records, monkeypatch):
    wrong = "import resnet.loader.worker as w; w.draws = None; w.main()"

    def start(address: str, descriptor: int) -> subprocess.Popen:
        arguments = [address, str(descriptor), str(os.getpid())]
        return subprocess.Popen([sys.executable, "-c", wrong, *arguments], pass_fds=(descriptor,))

    monkeypatch.setattr(worker_pool, "start_process", start)
    with pytest.raises(RuntimeError, match=r"(?s)a worker of the loader failed:.*'NoneType' object is not callable"):
        digests(training(photo_records))


def test_eight_workers_that_keep_ending_stop_the_loader_with_one_clear_error(photo_records, soon, monkeypatch):
    command, started = [sys.executable, "-c", "raise SystemExit(7)"], []

    def start(address: str, descriptor: int) -> subprocess.Popen:
        started.append(subprocess.Popen(command))
        return started[-1]

    monkeypatch.setattr(worker_pool, "start_process", start)
    with pytest.raises(UserError, match="workers keep ending before they finish anything"):
        digests(training(photo_records, workers=8))
    assert len(started) == 8 * 4

"""How the package starts its processes, and how many cores they may use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from resnet import processes
from resnet.processes import PeakMemory, command, cores, signals_blocked


def test_a_resnet_py_in_the_current_folder_does_not_shadow_the_package(tmp_path):
    (tmp_path / "resnet.py").write_text("raise SystemExit('not this one')")
    result = subprocess.run([*command("resnet"), "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "convert" in result.stdout


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("400000 100000", 4),
        ("150000 100000", 2),
        ("20000 100000", 1),
        ("9900000 100000", 64),
        ("max 100000", 64),
        ("", 64),
    ],
)
def test_a_containers_cpu_quota_limits_the_cores(monkeypatch, tmp_path, quota, expected):
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(processes, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert cores() == expected


def test_without_control_groups_the_cpu_affinity_limits_the_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 5})
    assert cores() == 2


def signals_of(status: str, which: str) -> set[int]:
    """The signals of one of the masks in a /proc/PID/status."""
    (mask,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith(which))
    return {number for number in range(1, 32) if mask >> (number - 1) & 1}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="masks are read from /proc")
@pytest.mark.parametrize("start", [lambda call: call(), lambda call: ThreadPoolExecutor(1).submit(call).result()])
def test_a_process_started_with_signals_blocked_is_born_with_them_blocked(start):
    def masks() -> tuple[str, str]:
        show = ["cat", "/proc/self/status"]
        with signals_blocked():
            inside = subprocess.run(show, capture_output=True, text=True, check=True).stdout
        return inside, subprocess.run(show, capture_output=True, text=True, check=True).stdout

    inside, after = start(masks)
    assert signals_of(inside, "SigBlk") >= {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    assert not signals_of(after, "SigBlk") & {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def test_a_signal_that_comes_while_signals_are_blocked_is_delivered_afterwards():
    came: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _: came.append(number))
    try:
        with signals_blocked():
            signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
            assert came == []
        assert came == [signal.SIGHUP]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_peak_of_a_worker_is_its_own_and_not_that_of_the_process_that_started_it(monkeypatch):
    """getrusage would say the latter, on Linux."""
    monkeypatch.setattr(PeakMemory, "largest_worker", 0)  # other tests in this process may have had workers
    ballast = np.ones(40_000_000)  # 320 MB
    command = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # Python has started in it
        PeakMemory.note_worker(process.pid)
        process.kill()
    assert PeakMemory.facts()["process"] > ballast.nbytes
    assert 1e6 < PeakMemory.facts()["largest_worker"] < ballast.nbytes


def test_the_largest_worker_counts_and_one_that_has_ended_already_does_not(monkeypatch):
    monkeypatch.setattr(PeakMemory, "largest_worker", 3 << 40)
    PeakMemory.note_worker(os.getpid())
    PeakMemory.note_worker(2**22 + 1)  # there is no such process
    assert PeakMemory.facts()["largest_worker"] == 3 << 40


def test_what_is_not_there_is_not_said(monkeypatch):
    monkeypatch.setattr(PeakMemory, "largest_worker", 0)
    assert set(PeakMemory.facts()) == {"process"}
    assert PeakMemory.facts(gpu=7)["gpu"] == 7

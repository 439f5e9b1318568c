"""A contender in a process of its own, which is stopped while the others are measured.

Started as a script, it takes its task as JSON, makes a first batch, says so, and then runs a round for every line of
its standard input.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
from contenders import CONTENDERS
from work import Work

from resnet.processes import die_with_parent

SETTLE = 8  # batches thrown away before each round: a contender may have made them before it was stopped


class ContenderProcess:
    """The side of the process that measures. `facts` has the version, and the difference in pixels if asked for."""

    def __init__(self, name: str, task: dict[str, Any]):
        self._name = name
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps({"contender": name, **task})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
            start_new_session=True,  # a process group of its own, to stop and to continue
        )
        self.facts = self._answer()
        os.killpg(self._process.pid, signal.SIGSTOP)

    def round(self) -> dict[str, float]:
        assert self._process.stdin
        os.killpg(self._process.pid, signal.SIGCONT)
        self._process.stdin.write("round\n")
        self._process.stdin.flush()
        figures = self._answer()
        os.killpg(self._process.pid, signal.SIGSTOP)
        return figures

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise ChildProcessError(f"{self._name} ended with exit code {self._process.wait()}; its reason is above")

    def close(self) -> None:
        assert self._process.stdin
        os.killpg(self._process.pid, signal.SIGCONT)
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    die_with_parent(os.getppid())  # even while it is stopped
    task = json.loads(sys.argv[1])
    if task["peers"]:
        sys.path.append(task["peers"])  # last: this project's own packages come first
    cv2.setNumThreads(1)
    fields = {name: task[name] for name in ("size", "batch", "workers", "crop", "color")}
    work = Work.load(Path(task["folder"]), **fields)
    contender = CONTENDERS[task["contender"]]
    batches = contender.batches(work)
    first = next(batches)
    version = getattr(importlib.import_module(contender.module), "__version__", "")
    facts: dict[str, Any] = {"version": f"{contender.module} {version}" if version else ""}
    if task["check"] and contender.module != "resnet":  # ours draws by position, not by image
        from pixels import difference

        facts["difference"] = difference(first, work)
    del first
    print(json.dumps(facts), flush=True)
    for _ in sys.stdin:
        print(json.dumps(run_round(batches, task["batch"], task["seconds"])), flush=True)
    batches.close()  # type: ignore[attr-defined]


def run_round(batches: Iterator[Any], batch_size: int, seconds: float) -> dict[str, float]:
    for _ in range(SETTLE):
        next(batches)
    start, cpu, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        batch = next(batches)
        count += 1
        del batch
    taken, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {"rate": count * batch_size / taken, "own_cpu_ms_a_batch": 1000 * cpu / count}


if __name__ == "__main__":
    main()

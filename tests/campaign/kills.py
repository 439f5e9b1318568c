"""Kills a pipeline again and again, at random moments and in every way, and compares what it makes in the end.

    python tests/campaign/kills.py --count 100 --seed 0

After each kill no process, no temporary file and no shared memory may be left. After some kills the same command runs
to its end; then every artifact must be the same, byte for byte, as that of a run that nobody killed. Prints a line for
each kill and a table at the end; exits with 1 if anything differed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from pipeline_under_attack import TOKEN, Pipeline, made

KILLS_A_RUN = 4
END_SECONDS = 60.0  # for a trainer to save and its workers to end
WORKERS = ("resnet.loader.worker", "resnet.conversion.worker")


@dataclass(frozen=True)
class Kill:
    """A way to interrupt a pipeline."""

    name: str
    target: str  # luigi, stage, worker or group
    number: signal.Signals
    through_pipe: bool = False


KILLS = (
    Kill("SIGKILL of luigi", "luigi", signal.SIGKILL),
    Kill("SIGKILL of the stage", "stage", signal.SIGKILL),
    Kill("SIGKILL of a worker", "worker", signal.SIGKILL),
    Kill("SIGKILL of all", "group", signal.SIGKILL),
    Kill("SIGTERM of luigi", "luigi", signal.SIGTERM),
    Kill("SIGTERM of the stage", "stage", signal.SIGTERM),
    Kill("Ctrl-C", "group", signal.SIGINT),
    Kill("closed terminal", "group", signal.SIGHUP),
    Kill("Ctrl-C through tee", "group", signal.SIGINT, through_pipe=True),
    Kill("closed terminal through tee", "group", signal.SIGHUP, through_pipe=True),
)


class Campaign:
    """`seconds` is how long the pipeline takes when nobody kills it."""

    def __init__(self, folder: Path, seed: int, task: str = "FullRun"):
        self.pipeline, self.random, self.seed = Pipeline(folder, task), random.Random(seed), seed
        started = time.monotonic()
        reference = folder / "reference"
        self.pipeline.run(reference)
        self.seconds = time.monotonic() - started
        self.expected = made(reference)
        self.failures: list[str] = []
        self.kills: Counter[tuple[str, str]] = Counter()

    def run(self, count: int, kinds: tuple[Kill, ...] = KILLS) -> None:
        """Kill `count` times, in several runs."""
        number = 0
        while sum(self.kills.values()) < count:
            artifacts = self.pipeline.folder / f"attacked-{self.seed}-{number}"
            overrides = ["records.parts=3"] if number % 3 == 2 else []
            failures = len(self.failures)
            for _ in range(min(KILLS_A_RUN, count - sum(self.kills.values()))):
                self._kill(artifacts, self.random.choice(kinds), overrides)
            self._finish(artifacts, overrides)
            if len(self.failures) == failures:
                self.pipeline.forget(artifacts)
            number += 1

    def _kill(self, artifacts: Path, kill: Kill, overrides: list[str]) -> None:
        process = self.pipeline.start(artifacts, overrides, through_pipe=kill.through_pipe)
        moment = self.random.uniform(0, self.seconds)
        try:
            process.wait(moment)
            return  # it was done before
        except subprocess.TimeoutExpired:
            pass
        stage = _stage(artifacts.name)
        if not self._send(process, kill, artifacts.name):
            process.wait()
            return
        if kill.target == "worker" and (code := process.wait()):
            self._note(artifacts, f"exit code {code} although only a worker was killed")
        left = _wait_for_end(artifacts.name)
        if not process.wait() and kill.target != "worker" and not kill.through_pipe:  # its exit code is that of tee
            return  # it was done as the signal came
        self.kills[kill.name, stage] += 1
        print(
            f"{sum(self.kills.values()):4} {kill.name} after {moment:.1f} s, {stage}: exit code {process.returncode}",
            flush=True,
        )
        if left:
            self._note(artifacts, f"{kill.name} during {stage} left processes: {left}")
        if strays := [stray for stray in self.pipeline.strays(artifacts) if not stray.endswith(".partial")]:
            self._note(artifacts, f"{kill.name} during {stage} left {strays}")
            self.pipeline.sweep(artifacts)

    def _send(self, process: subprocess.Popen, kill: Kill, token: str) -> bool:
        """Send the signal; False if the pipeline ended before there was anybody to send it to."""
        while process.poll() is None:
            if kill.target == "group":
                os.killpg(process.pid, kill.number)
                return True
            targets = {"luigi": [process.pid], "stage": _stages(token), "worker": _workers(token)}[kill.target]
            if targets:
                try:
                    os.kill(self.random.choice(targets), kill.number)
                    return True
                except ProcessLookupError:
                    continue
            time.sleep(0.01)
        return False

    def _finish(self, artifacts: Path, overrides: list[str]) -> None:
        try:
            self.pipeline.run(artifacts, overrides)
        except RuntimeError as error:
            self._note(artifacts, f"the run could not be finished: {error}")
            return
        found = made(artifacts)
        found = {name: digest for name, digest in found.items() if "/parts/" not in name}
        for name in sorted(found.keys() | self.expected.keys()):
            if found.get(name) != self.expected.get(name):
                self._note(artifacts, f"{name} differs from the uninterrupted run's")
        if strays := self.pipeline.strays(artifacts):
            self._note(artifacts, f"the finished run has {strays}")

    def _note(self, artifacts: Path, failure: str) -> None:
        self.failures.append(f"{artifacts.name}: {failure}")
        print(f"FAILED {self.failures[-1]}", flush=True)


def _processes(token: str) -> Iterator[tuple[int, str]]:
    """Number and command line of each process of a pipeline, found by its environment."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
        except OSError:  # it has ended
            continue
        if f"{TOKEN}={token}".encode() in environment and command:
            yield int(entry.name), command


def _workers(token: str) -> list[int]:
    return [pid for pid, command in _processes(token) if any(f" {module} " in command for module in WORKERS)]


def _stages(token: str) -> list[int]:
    return [pid for pid, command in _processes(token) if "run_module" in command and " resnet " in command]


def _stage(token: str) -> str:
    """What the pipeline is at."""
    commands = [command for _, command in _processes(token) if "run_module" in command and " resnet " in command]
    return commands[0].partition(" resnet ")[2].split()[0] if commands else "luigi alone"


def _wait_for_end(token: str) -> list[str]:
    """Wait until no process of a pipeline is left; returns those that stay."""
    deadline = time.monotonic() + END_SECONDS
    while (left := list(_processes(token))) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [f"{pid} {command[:200]}" for pid, command in left]


def _shared_memory() -> set[str]:
    """Named semaphores and shared memory of Python's multiprocessing."""
    return {name for name in os.listdir("/dev/shm") if name.startswith(("sem.mp-", "psm_"))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="kills")
    parser.add_argument("--seed", type=int, default=0, help="decides how and when")
    parser.add_argument("--folder", type=Path, help="where to work; kept (default: a temporary folder)")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGHUP):  # nohup and `&` of a shell have them ignored, also by what is started
        signal.signal(number, signal.SIG_DFL)
    memory = _shared_memory()
    with tempfile.TemporaryDirectory(prefix="campaign-") as temporary:
        campaign = Campaign(options.folder or Path(temporary), options.seed)
        campaign.run(options.count)
    if left := _shared_memory() - memory:
        campaign.failures.append(f"shared memory was left: {sorted(left)}")
    print("\nkills by kind and by what the pipeline was at:")
    for (name, stage), number in sorted(campaign.kills.items()):
        print(f"{number:4} {name:30} {stage}")
    total = sum(campaign.kills.values())
    print(
        f"{total} kills, {len(campaign.failures)} failures; {len(campaign.expected)} artifacts compared after each run"
    )
    print("\n".join(campaign.failures))
    return 1 if campaign.failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""Trains on two hosts, kills one of them at random moments, and compares the weights with those of one host.

    python tests/campaign/hosts.py --kills 5 --seed 0

The hosts are processes of this machine, with two logical devices each. After each kill the other host must end by
itself, with a message that names the lost one; then both start again, or only one of them, and the weights must be the
same, byte for byte, as those of a training on one device that nobody killed. Prints a line a kill; exits with 1 if
anything differed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from resnet.hosts.cluster import free_loopback_cluster

# 12 replicas of 4 images: 1, 2, 3 and 4 devices can share them. 10 steps an epoch.
SETTINGS = (
    "dataset.validation_fraction=0.735",
    "training.batch_size=48",
    "training.replica_batch_size=4",
    "training.epochs=2",
    "training.drop_epochs=[1]",
    "training.checkpoint_steps=4",
    "model.depth=8",
    "model.image_size=16",
    "evaluation.shorter_side=16",
    "augmentation.padding=2",
)
END_SECONDS = 60.0  # for the others, when one host is lost


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    said: str


class Trial:
    """Trainings of one recipe under one artifacts folder, which has the records."""

    def __init__(self, artifacts: Path):
        self.artifacts = artifacts
        [(code, said)] = ended([self.call("convert", "records")], 300)
        if code:
            raise RuntimeError(f"conversion ended with code {code}: {said}")

    def call(self, stage: str, run: str, *more: str, **environment: str) -> subprocess.Popen:
        """Start a stage."""
        command = [
            sys.executable,
            "-m",
            "resnet",
            stage,
            f"--artifacts={self.artifacts}",
            f"--run={run}",
            "--workers=1",
        ]
        command += [f"--override={setting}" for setting in SETTINGS]
        return subprocess.Popen(
            [*command, *more],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def on_hosts(self, run: str, hosts: int, devices: int, *more: str) -> list[subprocess.Popen]:
        """Start a training on some hosts, the chief first."""
        options = (f"--cpu-devices={devices}", *more)
        if hosts == 1:
            return [self.call("train", run, *options)]
        return [self.call("train", run, *options, TF_CONFIG=each.tf_config) for each in free_loopback_cluster(hosts)]

    def weights(self, run: str) -> bytes:
        """The trained weights, followed by the last checkpoint: all state."""
        folder = self.artifacts / "runs" / run / "train"
        newest = max((folder / "checkpoints").glob("step-*.safetensors"))
        return (folder / "weights.safetensors").read_bytes() + newest.read_bytes()

    def validated(self, run: str) -> list[dict[str, float]]:
        """What the log says of each epoch's validation."""
        lines = (self.artifacts / "runs" / run / "train" / "log.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in lines if "validation_loss" in line]
        return [{name: line[name] for name in line if name != "seconds"} for line in found]

    def step(self, run: str) -> int:
        """The last step in the log so far."""
        try:
            lines = (self.artifacts / "runs" / run / "train" / "log.jsonl").read_text().splitlines()
            return int(json.loads(lines[-1])["step"])
        except (OSError, ValueError, IndexError):
            return 0


def ended(processes: list[subprocess.Popen], seconds: float) -> list[Ended]:
    """Wait for all; raises TimeoutError, after killing them, where one does not end in time."""
    deadline = time.monotonic() + seconds
    try:
        said = [process.communicate(timeout=max(deadline - time.monotonic(), 0.1))[0] for process in processes]
    except subprocess.TimeoutExpired:
        for process in processes:
            process.kill()
        raise TimeoutError(f"a host did not end within {seconds:.0f} s") from None
    return [Ended(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def when(is_so: Callable[[], bool], processes: list[subprocess.Popen]) -> None:
    """Wait until something is so, or a process has ended."""
    while not is_so() and all(process.poll() is None for process in processes):
        time.sleep(0.02)


def kill_at(trial: Trial, run: str, step: int, victim: int) -> tuple[Ended, float]:
    """Train on two hosts, and kill one after a step. Returns how the other one ended, and after how many seconds."""
    hosts = trial.on_hosts(run, 2, 2)
    when(lambda: trial.step(run) >= step, hosts)
    hosts[victim].send_signal(signal.SIGKILL)
    start = time.monotonic()
    survivor = ended([hosts[1 - victim]], END_SECONDS)[0]
    hosts[victim].communicate()
    return survivor, time.monotonic() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random_moments = random.Random(options.seed)
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder) / "artifacts")
        if code := ended(trial.on_hosts("alone", 1, 1), 600)[0].code:
            sys.exit(f"training on one host ended with code {code}")
        for number in range(options.kills):
            run, victim, step = f"killed-{number}", random_moments.randrange(2), random_moments.randrange(1, 18)
            survivor, seconds = kill_at(trial, run, step, victim)
            left = 1 if number == options.kills - 1 else 2
            codes = [process.code for process in ended(trial.on_hosts(run, left, 2), 600)]
            is_same = not any(codes) and trial.weights(run) == trial.weights("alone")
            names_it = f"host {victim} (" in survivor.said and "Traceback" not in survivor.said
            failures += not (is_same and names_it and survivor.code == 1)
            print(
                f"host {victim} killed at step {step}: the other ended after {seconds:.0f} s with code {survivor.code}"
                f"{'' if names_it else ' AND THE WRONG MESSAGE'}; started again on {left}: "
                f"{'the same bytes' if is_same else 'OTHER WEIGHTS'}",
                flush=True,
            )
            if not names_it:
                print(survivor.said)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

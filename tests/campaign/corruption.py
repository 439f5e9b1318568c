"""Damages each file that a run reads, and looks whether a wrong byte is ever used in silence.

    python tests/campaign/corruption.py --each 2 --flips 2 --seed 0

Some files of every kind get other bytes (one flipped, half of them, none), each time in a copy of its own: of a
finished run, of one interrupted in training, and of one interrupted in a conversion in parts. Then the real `luigi`
goes on, with what depends on the file to be made again. What is right:

    named    the command stops with an error, or goes on with a warning, that names the file
    healed   the file was made again, and every artifact is that of a run that nobody damaged
    unread   nothing reads the file in this run: every other artifact is that of a run that nobody damaged

Anything else is a failure: an artifact that differs, a traceback, an error that does not name the file.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from pipeline_under_attack import Pipeline, made

LATER = {"train": ("batchnorm", "evaluate", "report"), "batchnorm": ("evaluate", "report"), "evaluate": ("report",)}
PARTS = ("records.parts=2",)
# What no stage reads: pictures and pages, lists for people, locks, and what a finished stage keeps in case it is lost.
FOR_PEOPLE = ("report.html", "report.md", "report.json", "index.html", ".svg", ".png", ".lock", ".csv", "events")


class Campaign:
    """Keeps a finished run and two interrupted ones, to damage copies of."""

    def __init__(self, folder: Path, seed: int):
        self.pipeline, self.random = Pipeline(folder), random.Random(seed)
        self.finished, self.interrupted, self.converting = (
            folder / name for name in ("finished", "interrupted", "converting")
        )
        self.pipeline.run(self.finished)
        self.expected = made(self.finished)
        self._interrupt_training()
        self._interrupt_conversion()
        self.outcomes: Counter[tuple[str, str, str]] = Counter()
        self.failures: list[str] = []
        self.seconds = 0.0

    def _interrupt_conversion(self) -> None:
        """Stop a run when one of its two parts is made."""
        process = self.pipeline.start(self.converting, PARTS)
        parts = self.converting / "records/images/parts"
        while not list(parts.glob("*.json")):
            if process.poll() is not None:
                raise RuntimeError(self.pipeline.said(self.converting))
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if (parts.parent / "stage.json").exists():
            raise RuntimeError("the conversion was over before it could be interrupted")

    def _interrupt_training(self) -> None:
        """Stop a run in the middle of its training."""
        process = self.pipeline.start(self.interrupted)
        checkpoints = self.interrupted / "runs/attacked/train/checkpoints"
        while len(list(checkpoints.glob("step-*"))) < 3:
            if process.poll() is not None:
                raise RuntimeError(self.pipeline.said(self.interrupted))
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.wait()
        if (checkpoints.parent / "weights.safetensors").exists():
            raise RuntimeError("the training was over before it could be interrupted")

    def run(self, each: int, flips: int) -> None:
        """Damage `each` files of every kind: empty them, halve them, and flip a byte of them `flips` times."""
        for tree in (self.finished, self.interrupted, self.converting):
            tried: Counter[str] = Counter()
            files = [path for path in tree.rglob("*") if path.is_file() and path.stat().st_size]
            for path in sorted(files, reverse=True):  # the newest checkpoint first
                name = str(path.relative_to(tree))
                if self._is_read(tree, name) and tried[_kind(name)] < each:
                    tried[_kind(name)] += 1
                    for damage in ("empty", "half", *["flipped"] * flips):
                        self._try(tree, name, damage)

    def _is_read(self, tree: Path, name: str) -> bool:
        if "tensorboard" in name or (name.endswith(FOR_PEOPLE) and not name.endswith("predictions.csv")):
            return False
        if tree == self.converting:
            return name.startswith("records/") and not name.endswith(".partial")
        in_training = name.startswith("runs/attacked/train/")
        if tree == self.interrupted:  # goes on training: reads its own state and the training records
            return in_training or "train-" in name
        return not in_training or name.endswith(("stage.json", "weights.safetensors", "log.jsonl"))

    def _try(self, tree: Path, name: str, damage: str) -> None:
        artifacts = self.pipeline.folder / "damaged"
        self.pipeline.forget(artifacts)
        shutil.copytree(tree, artifacts)
        self._damage(artifacts / name, damage)
        self._remove_later(artifacts, name)
        started = time.monotonic()
        overrides = PARTS if tree == self.converting else ()
        is_own_recipe = tree == self.finished and name.endswith(("recipe.toml", "run.json"))
        process = self.pipeline.start(artifacts, overrides, without_recipe=is_own_recipe)
        code = process.wait()
        self.seconds += time.monotonic() - started
        outcome = self._judge(artifacts, name, code)
        self.outcomes[_kind(name), damage, outcome] += 1
        print(f"{sum(self.outcomes.values()):4} {tree.name} {name} {damage}: {outcome}", flush=True)
        if outcome not in ("named", "healed", "unread"):
            said = self.pipeline.said(artifacts)[-1500:]
            self.failures.append(f"{tree.name} {name} {damage}: {outcome}\n{said}")

    def _damage(self, path: Path, damage: str) -> None:
        content = bytearray(path.read_bytes())
        if damage == "flipped":
            content[self.random.randrange(len(content))] ^= 1 << self.random.randrange(8)
        path.write_bytes({"empty": b"", "half": content[: len(content) // 2]}.get(damage, content))

    def _remove_later(self, artifacts: Path, name: str) -> None:
        """Have the stages that read the file run again."""
        stage = name.split("/")[2] if name.startswith("runs/attacked/") and name.count("/") > 2 else "train"
        for later in LATER.get(stage, ()):
            shutil.rmtree(artifacts / "runs/attacked" / later, ignore_errors=True)

    def _judge(self, artifacts: Path, name: str, code: int) -> str:
        said = self.pipeline.said(artifacts)
        is_named = Path(name).name in said
        if "Traceback" in said:
            return "TRACEBACK"
        if code:
            return "named" if is_named else "ERROR WITHOUT THE NAME"
        found = {key: digest for key, digest in made(artifacts).items() if "/parts/" not in key}
        different = {key for key in found.keys() | self.expected.keys() if found.get(key) != self.expected.get(key)}
        if not different:
            return "healed"
        if different == {name}:
            return "named" if is_named else "unread"
        return f"USED IN SILENCE: {sorted(different - {name})}"


def _kind(name: str) -> str:
    """What sort of file it is, for the table."""
    parts = Path(name)
    if parts.parent.name == "parts":
        return "part"
    if name.startswith("records/"):
        if parts.parent.name == "index":
            return "index of a shard" if parts.suffix == ".npy" else "summary of a shard"
        return "shard" if "-of-" in name else f"records' {parts.name}"
    return "checkpoint" if "checkpoints" in name else f"{parts.parent.name}'s {parts.name}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=2, help="files of each kind, such as shards")
    parser.add_argument("--flips", type=int, default=2, help="bytes to flip in each file, one at a time")
    parser.add_argument("--seed", type=int, default=0, help="decides which bytes")
    parser.add_argument("--folder", type=Path, help="where to work; kept (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="campaign-") as temporary:
        campaign = Campaign(options.folder or Path(temporary), options.seed)
        campaign.run(options.each, options.flips)
    print("\nby kind of file, damage and outcome:")
    for (kind, damage, outcome), number in sorted(campaign.outcomes.items()):
        print(f"{number:4} {kind:30} {damage:8} {outcome}")
    total = sum(campaign.outcomes.values())
    print(f"{total} damaged files, {len(campaign.failures)} failures, {campaign.seconds:.0f} s")
    print("\n".join(campaign.failures))
    return 1 if campaign.failures else 0


if __name__ == "__main__":
    sys.exit(main())

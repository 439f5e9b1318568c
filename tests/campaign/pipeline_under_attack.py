"""A pipeline of half a minute to attack, through the real `luigi`; compared with one that nobody attacked."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from sample_images import photographs  # noqa: E402
from small_runs import SMALL  # noqa: E402

LUIGI = Path(sys.executable).with_name("luigi")
TOKEN = "RESNET_CAMPAIGN"  # environment: marks every process of an attacked pipeline
SETTINGS = (*SMALL, "training.epochs=20", "training.checkpoint_steps=7", "records.train_shards=6")
TIMES = ("seconds", "images_per_second", "data_wait")  # keys of log.jsonl that differ between two runs
# Files with times, versions or counts of attempts in them; their content is compared where it says what was made.
PAGES = ("report.html", "report.md", "report.json", "index.html", ".svg", ".png")
UNCOMPARED = ("begun.json", ".lock", "run.json", *PAGES)


class Pipeline:
    """The images, and the commands that take them from conversion to report, or to another task."""

    def __init__(self, folder: Path, task: str = "FullRun"):
        self.folder, self.images, self._task = folder, folder / "images", task
        for split, count, seed in (("train", 48, 0), ("val", 20, 1)):
            for i, (encoded, label) in enumerate(photographs(count, seed)):
                place = self.images / split / ("china", "flower")[label]
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{i:03d}.jpg").write_bytes(encoded)

    def command(self, artifacts: Path, overrides: Sequence[str] = (), *, without_recipe: bool = False) -> list[str]:
        """The `luigi` command; without a recipe, the run goes on with its own."""
        options = ["--run", "attacked", "--artifacts", str(artifacts), "--local-scheduler"]
        if not without_recipe:
            options += ["--recipe", "imagefolder", "--data", str(self.images)]
            options += ["--override", json.dumps([*SETTINGS, *overrides])]
        return [str(LUIGI), "--module", "pipeline", self._task, *options]

    def start(
        self,
        artifacts: Path,
        overrides: Sequence[str] = (),
        *,
        through_pipe: bool = False,
        without_recipe: bool = False,
    ) -> subprocess.Popen:
        """Start it in a process group of its own, with a folder of its own for temporary files."""
        temporary = self.temporary(artifacts)
        temporary.mkdir(parents=True, exist_ok=True)
        command = self.command(artifacts, overrides, without_recipe=without_recipe)
        if through_pipe:
            command = ["bash", "-c", '"$@" 2>&1 | tee "$0"', str(artifacts.with_suffix(".log")), *command]
        with open(artifacts.with_suffix(".output"), "ab") as output:
            return subprocess.Popen(
                command,
                env=os.environ | {TOKEN: artifacts.name, "TMPDIR": str(temporary)},
                cwd=temporary.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, artifacts: Path, overrides: Sequence[str] = ()) -> None:
        """Run it to its end. Raises RuntimeError if it fails."""
        process = self.start(artifacts, overrides)
        if process.wait():
            raise RuntimeError(f"exit code {process.returncode}: {self.said(artifacts)[-2000:]}")

    def said(self, artifacts: Path) -> str:
        output = artifacts.with_suffix(".output").read_text(errors="replace")
        log = artifacts.with_suffix(".log")
        return output + (log.read_text(errors="replace") if log.exists() else "")

    def temporary(self, artifacts: Path) -> Path:
        return self.folder / f"tmp-{artifacts.name}"

    def strays(self, artifacts: Path) -> list[str]:
        """What should not be there: temporary files, unfinished files, a trash folder, tracebacks."""
        found = [str(path) for path in self.temporary(artifacts).iterdir()]
        found += [str(path) for path in artifacts.rglob("*") if path.name.endswith((".partial", ".unreadable"))]
        found += [str(path) for path in (artifacts / "trash").glob("*")]
        return found + ["a traceback in the output"] * self.said(artifacts).count("Traceback")

    def sweep(self, artifacts: Path) -> None:
        """Remove the temporary files, so that the next kill is not blamed for them."""
        shutil.rmtree(self.temporary(artifacts), ignore_errors=True)

    def forget(self, artifacts: Path) -> None:
        shutil.rmtree(artifacts, ignore_errors=True)
        shutil.rmtree(self.temporary(artifacts), ignore_errors=True)
        for suffix in (".log", ".output"):
            artifacts.with_suffix(suffix).unlink(missing_ok=True)


def made(artifacts: Path) -> dict[str, str]:
    """A digest of every artifact that must be the same, however often a run was interrupted."""
    found = {}
    for path in sorted(artifacts.rglob("*")):
        name = str(path.relative_to(artifacts))
        if path.is_dir() or "/tensorboard/" in name or name.startswith("trash/") or name.endswith(UNCOMPARED):
            continue
        if re.fullmatch(r"log-\d+\.txt|progress\.json", path.name):
            continue  # what was said, and when
        if "/checkpoints/" in name and path != max(path.parent.iterdir()):
            continue  # which of the older ones there are depends on when it was interrupted
        try:
            content = READERS.get(path.name, Path.read_bytes)(path)
        except (ValueError, KeyError, TypeError):  # it is damaged
            content = path.read_bytes()
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def _stage_json(path: Path) -> bytes:
    record = json.loads(path.read_bytes())
    digest = record["digest"] if path.parent.name != "report" else ""  # there are times on its page
    return json.dumps([digest, record["settings"], record["inputs"]]).encode()


def _log(path: Path) -> bytes:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return json.dumps([{key: line[key] for key in sorted(line.keys() - set(TIMES))} for line in lines]).encode()


def _recipe(path: Path) -> bytes:
    """Without the number of parts, which does not affect results."""
    return b"".join(line for line in path.read_bytes().splitlines(True) if not line.startswith(b"parts ="))


READERS: dict[str, Callable[[Path], bytes]] = {
    "stage.json": _stage_json,
    "log.jsonl": _log,
    "recipe.toml": _recipe,
}

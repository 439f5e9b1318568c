"""Where a run's artifacts lie, and when a stage is complete.

A stage folder ends with `stage.json`, written last. The stage is complete when that file is there, its version,
settings and inputs are those wanted now, every output still has its size, and the stages it builds on are complete.
While a stage works, `begun.json` says for which settings and inputs, so that a later attempt knows whether what it
finds may be continued or belongs to another recipe. Nothing is ever deleted for being of another recipe: it is moved
to the trash folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import math
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from resnet.errors import UserError
from resnet.files import atomic, held, make_folder, sha256
from resnet.processes import cores
from resnet.settings import Recipe, load_recipe

PACKAGES = ("tensorflow", "tensorflow-cpu", "numpy", "opencv-python-headless", "luigi", "pyzmq", "pandas", "keras")


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline: `version` rises when its code makes other numbers of the same settings."""

    name: str
    version: int
    sections: tuple[str, ...]
    inputs: tuple[str, ...]


STAGES = {
    stage.name: stage
    for stage in (
        Stage("convert", 2, ("dataset", "records"), ()),
        Stage("train", 1, ("model", "augmentation", "training"), ("convert",)),
        Stage("batchnorm", 1, ("batchnorm",), ("convert", "train")),
        Stage("evaluate", 1, ("evaluation",), ("convert", "batchnorm")),
        Stage("report", 1, (), ("convert", "train", "batchnorm", "evaluate")),
    )
}


@dataclass(frozen=True)
class Machine:
    """What changes only where and how fast a stage runs: never a reason to run it again."""

    workers: int = field(default_factory=cores)
    devices: int = 0  # 0: every GPU, or the processor where there is none
    cpu_devices: int = 1  # logical devices that the processor is split into, to try a distributed recipe without GPUs


@dataclass(frozen=True, eq=False)
class Run:
    """A recipe, where its images are, and where its artifacts go."""

    name: str
    recipe: Recipe
    recipe_name: str
    artifacts: Path
    data: Path | None = None
    machine: Machine = Machine()

    @classmethod
    def of(
        cls,
        recipe: str,
        overrides: Sequence[str] = (),
        *,
        name: str = "",
        artifacts: str | Path = "artifacts",
        data: str | Path = "",
        machine: Machine | None = None,
    ) -> Run:
        """Resolve what the command line and luigi.cfg say. Raises UserError for anything that does not fit."""
        recipe_name, settings = load_recipe(recipe, overrides)
        name = name or re.sub(r"[^A-Za-z0-9._-]+", "-", recipe_name).strip(".-") or "run"
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise UserError(f"--run {name!r}: use letters, digits, '.', '_' and '-' only")
        root = Path(data).expanduser().absolute() if data else None
        folder = Path(artifacts).expanduser().absolute()
        return cls(name, settings, recipe_name, folder, root, machine or Machine())

    @cached_property
    def records_name(self) -> str:
        dataset = self.recipe.dataset
        if dataset.name:
            return dataset.name
        return (re.sub(r"[^A-Za-z0-9._-]+", "-", self.data.name).strip(".-") if self.data else "") or dataset.source

    @property
    def records(self) -> Path:
        return self.artifacts / "records" / self.records_name

    @property
    def folder(self) -> Path:
        return self.artifacts / "runs" / self.name

    def stage_folder(self, stage: str) -> Path:
        return self.records if stage == "convert" else self.folder / stage

    @cached_property
    def source_fingerprint(self) -> str | None:
        """What the images are, told cheaply; None where they cannot be seen (any more)."""
        from resnet.datasets import fingerprint  # here, so that a finished run is recognised without scikit-learn

        return fingerprint(self.recipe.dataset, self.data, self.artifacts)

    def settings(self, stage: str) -> dict[str, Any]:
        """The part of the recipe that decides this stage's numbers."""
        return {section: getattr(self.recipe, section).numbers() for section in STAGES[stage].sections}

    def forget_source(self) -> None:
        """Look at the images anew when next asked: they were downloaded meanwhile."""
        vars(self).pop("source_fingerprint", None)

    def record(self, stage: str) -> dict[str, Any] | None:
        """The stage's stage.json, or None where there is none, or one that is damaged."""
        record = _read_json(self.stage_folder(stage) / "stage.json")
        return record if record and {"version", "settings", "inputs", "outputs", "digest"} <= set(record) else None

    def made(self, stage: str) -> dict[str, Any]:
        """The stage.json of a stage that is complete."""
        record = self.record(stage)
        if record is None:
            raise UserError(f"{self.stage_folder(stage)} holds no finished {stage} stage: run it first")
        return record

    def why_incomplete(self, stage: str) -> str:
        """Empty when the stage is complete, otherwise the first reason why it is not."""
        for needed in STAGES[stage].inputs:
            if reason := self.why_incomplete(needed):
                return f"it builds on {needed}, which is to be done: {reason}"
        folder = self.stage_folder(stage)
        done = self.record(stage)
        if done is None:
            parts = range(self.recipe.records.parts) if stage == "convert" else range(0)
            if len(parts) > 1 and all(map(self._part_was_made, parts)):
                return "its parts are done, and to be put together"
            begun = (folder / "begun.json").exists()
            return "it was interrupted" if begun else "it has not run yet"
        if reason := self._why_stale(stage, done):
            return reason
        for name, output in done["outputs"].items():
            try:
                size = (folder / name).stat().st_size
            except OSError:
                return f"{folder / name} is missing"
            if size != output["size"]:
                return f"{folder / name} has {size} bytes, not {output['size']}"
        return ""

    def _why_stale(self, stage: str, done: dict[str, Any]) -> str:
        if done["version"] != STAGES[stage].version:
            return f"it was made by version {done['version']} of the stage; this is {STAGES[stage].version}"
        wanted = self.settings(stage)
        for section, values in wanted.items():
            for key, value in values.items():
                was = done["settings"].get(section, {}).get(key)
                if was != value:
                    return f"{section}.{key} was {json.dumps(was)}, now {json.dumps(value)}"
        for name, digest in self._inputs(stage).items():
            if digest is not None and done["inputs"].get(name) != digest:
                return "the images have changed" if name == "source" else f"{name} has changed since"
        return ""

    def _inputs(self, stage: str) -> dict[str, str | None]:
        if stage == "convert":
            return {"source": self.source_fingerprint}
        records = {name: self.record(name) for name in STAGES[stage].inputs}
        return {name: record["digest"] if record else None for name, record in records.items()}

    @contextlib.contextmanager
    def at_work(self, stage: str) -> Iterator[dict[str, Any] | None]:
        """Hold the stage's folder, and the records that it reads together with other readers, while it works.

        Gives begun.json's content, to be handed to `finish`; None where the stage is complete already.
        """
        with (
            held(self.records, shared=True, wait=math.inf),
            held(self.stage_folder(stage), wait=10),  # a killed run's trainer may take a moment to end
        ):
            yield self.begin(stage) if self.why_incomplete(stage) else None

    @contextlib.contextmanager
    def at_work_on_part(self) -> Iterator[None]:
        """Hold the records together with those who work on other parts of the conversion, once it is begun."""
        while True:
            with held(self.records, shared=True, wait=math.inf):
                if self._is_begun("convert") or not self.why_incomplete("convert"):
                    yield
                    return
            with held(self.records, wait=math.inf):
                if not self._is_begun("convert") and self.why_incomplete("convert"):
                    self.begin("convert")

    def part_is_done(self, part: int) -> bool:
        """Whether the shards of a part of the conversion have been made, for the settings and images wanted now."""
        return self._part_was_made(part) or not self.why_incomplete("convert")

    def finish_part(self, part: int) -> None:
        make_folder(self._part(part).parent)
        _write_json(self._part(part), self._identity("convert"))

    def _part_was_made(self, part: int) -> bool:
        return _read_json(self._part(part)) == self._identity("convert")

    def _part(self, part: int) -> Path:
        return self.records / "parts" / f"{part:05d}-of-{self.recipe.records.parts:05d}.json"

    def _identity(self, stage: str) -> dict[str, Any]:
        """What a stage is of: two attempts of the same belong together."""
        return {
            "stage": stage,
            "version": STAGES[stage].version,
            "settings": self.settings(stage),
            "inputs": self._inputs(stage),
        }

    def _is_begun(self, stage: str) -> bool:
        """Whether an attempt of the very same was begun, and may be continued."""
        begun, wanted = _read_json(self.stage_folder(stage) / "begun.json"), self._identity(stage)
        return begun is not None and all(begun.get(key) == value for key, value in wanted.items())

    def require_inputs(self, stage: str) -> None:
        """Raise UserError, naming the stage to run first, where one that this builds on is not complete."""
        for needed in STAGES[stage].inputs:
            if reason := self.why_incomplete(needed):
                raise UserError(f"{stage} builds on {needed}, which is to be done first: {reason}")

    def begin(self, stage: str) -> dict[str, Any]:
        """Make the stage's folder ready, keeping what an earlier attempt of the same settings and inputs left.

        What belongs to other settings or inputs is moved to the trash folder, and said so.
        Returns begun.json's content, to be handed to `finish`.
        """
        folder = self.stage_folder(stage)
        make_folder(folder)
        wanted = self._identity(stage)
        earlier = _read_json(folder / "begun.json") or self.record(stage)
        same = earlier is not None and all(earlier.get(key) == value for key, value in wanted.items())
        if not same and any(entry.name != ".lock" for entry in folder.iterdir()):
            self._move_to_trash(folder, stage)
        begun = wanted | {
            "start": earlier["start"] if same and earlier else _now(),
            "attempts": (earlier.get("attempts", 0) if same and earlier else 0) + 1,
        }
        for leftover in folder.rglob(".*.partial"):  # of writers that were killed; this process holds the folder
            leftover.unlink(missing_ok=True)
        _write_json(folder / "begun.json", begun)
        (folder / "stage.json").unlink(missing_ok=True)
        if stage != "convert":
            with atomic(self.folder / "recipe.toml", "w") as file:
                file.write(self.recipe.toml())
        return begun

    def finish(
        self,
        begun: dict[str, Any],
        outputs: Iterable[Path],
        *,
        byproducts: Iterable[Path] = (),
        checksums: dict[str, str] | None = None,
        **facts: Any,
    ) -> None:
        """Write stage.json, last of all. `outputs` decide the digest that later stages are tied to; byproducts
        (logs, pictures: anything that holds times) must only be there. `checksums` spares reading large files again.
        """
        folder = self.stage_folder(begun["stage"])
        files = {}
        for path, counts in [(path, True) for path in outputs] + [(path, False) for path in byproducts]:
            name = str(path.relative_to(folder))
            files[name] = {"size": path.stat().st_size, "sha256": (checksums or {}).get(name) or sha256(path)}
            if not counts:
                files[name]["byproduct"] = True
        identity = {key: begun[key] for key in ("stage", "version", "settings", "inputs")}
        identity["outputs"] = {name: file["sha256"] for name, file in files.items() if "byproduct" not in file}
        done = begun | {
            "digest": hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(),
            "end": _now(),
            **facts,
            "packages": _package_versions(),
            "python": platform.python_version(),
            "host": platform.node(),
            "git_commit": _git_commit(),
            "outputs": files,
        }
        _write_json(folder / "stage.json", done)
        (folder / "begun.json").unlink(missing_ok=True)

    def _move_to_trash(self, folder: Path, stage: str) -> None:
        trash = self.artifacts / "trash"
        make_folder(trash)
        owner = self.records_name if stage == "convert" else self.name
        stem = f"{datetime.now().strftime('%Y%m%d-%H%M%S')}-{owner}-{stage}"
        target = next(path for n in range(1000) if not (path := trash / (f"{stem}-{n}" if n else stem)).exists())
        target.mkdir()
        for entry in list(folder.iterdir()):
            if entry.name != ".lock":  # held by this very process
                entry.rename(target / entry.name)
        print(f"{stage}: what was made with other settings or images is now in {target}", file=sys.stderr)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _read_json(path: Path) -> dict[str, Any] | None:
    """None for a file that is missing or damaged: either way the stage is not known to be done."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic(path, "w") as file:
        json.dump(content, file, indent=1)
        file.write("\n")


def _package_versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _git_commit() -> str | None:
    """The commit of this code, with "+changes" where the checkout differs from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "."], cwd=here, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+changes" if changed.returncode else "")

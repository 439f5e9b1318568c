"""The ledger of a run: which stages are complete, why the others are not, and the work on a stage from begin to finish.

A stage's folder ends with `stage.json`, written last. The stage is complete when that file is there, its version,
settings and inputs match those wanted now, every output has its size, and the stages it depends on are complete.
While a stage runs, `begun.json` says for which settings and inputs, so that the next attempt knows whether to continue
what it finds or to move it to the trash folder. The ledger never deletes finished work.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from resnet.errors import UserError
from resnet.files import atomic, make_folder, sha256
from resnet.locks import locked
from resnet.provenance import provenance
from resnet.run import Run
from resnet.settings import Recipe
from resnet.stage_table import STAGES

logger = logging.getLogger(__name__)

KILLED_SECONDS = 10.0  # a killed process may take a moment to end and release its lock


class Ledger:
    """`fingerprint` identifies the images that the run would convert; None while they cannot be seen.

    It is handed in, so that the ledger needs to know no data set. It is called once, since it may list a large folder.
    """

    def __init__(self, run: Run, fingerprint: Callable[[], str | None]):
        self.run = run
        self._fingerprint = fingerprint

    def record(self, stage: str) -> dict[str, Any] | None:
        """The stage's stage.json, or None where there is none that can be read."""
        record = _read_json(self.run.stage_folder(stage) / "stage.json")
        return record if record and {"version", "settings", "inputs", "outputs", "digest"} <= set(record) else None

    def finished(self, stage: str) -> dict[str, Any]:
        """The stage.json of a stage that is there. Raises UserError otherwise."""
        record = self.record(stage)
        if record is None:
            raise UserError(f"{self.run.stage_folder(stage)} has no finished {stage} stage: run it first")
        return record

    def why_incomplete(self, stage: str) -> str:
        """Empty when the stage is complete, otherwise the first reason why it is not."""
        for needed in STAGES[stage].inputs:
            if reason := self.why_incomplete(needed):
                return f"it depends on {needed}, which is incomplete: {reason}"
        folder = self.run.stage_folder(stage)
        done = self.record(stage)
        if done is None:
            parts = range(self.run.recipe.records.parts) if stage == "convert" else range(0)
            if len(parts) > 1 and all(map(self._part_was_made, parts)):
                return "its parts are done; they are not combined yet"
            return "it was interrupted" if (folder / "begun.json").exists() else "it has not run yet"
        return self._why_stale(stage, done) or _missing_or_changed(folder, done["outputs"])

    def _why_stale(self, stage: str, done: dict[str, Any]) -> str:
        version = STAGES[stage].version
        if done["version"] != version:
            return f"it was made by version {done['version']} of the stage, and the code is version {version}"
        wanted, recorded = self.settings(stage), _with_defaults(stage, done["settings"])
        for section, values in wanted.items():
            for key, value in values.items():
                if (was := recorded[section][key]) != value:
                    return f"{section}.{key} was {json.dumps(was)}, now {json.dumps(value)}"
        for name, digest in self._inputs(stage).items():
            if digest is not None and done["inputs"].get(name) != digest:
                return "the images have changed" if name == "source" else f"{name} has changed since"
        return ""

    def settings(self, stage: str) -> dict[str, Any]:
        """The settings that affect this stage's results, by section."""
        return _affecting(stage, self.run.recipe)

    def matches(self, stage: str, earlier: dict[str, Any] | None) -> bool:
        """Whether an earlier attempt (begun.json or stage.json) was at the same version, settings and inputs."""
        if earlier is None or not isinstance(earlier.get("settings"), dict):
            return False
        earlier = earlier | {"settings": _with_defaults(stage, earlier["settings"])}
        return all(earlier.get(key) == value for key, value in self.identity(stage).items())

    def identity(self, stage: str) -> dict[str, Any]:
        """What makes two attempts at a stage the same: version, settings and inputs."""
        return {
            "stage": stage,
            "version": STAGES[stage].version,
            "settings": self.settings(stage),
            "inputs": self._inputs(stage),
        }

    def _inputs(self, stage: str) -> dict[str, str | None]:
        if stage == "convert":
            return {"source": self._source}
        records = {name: self.record(name) for name in STAGES[stage].inputs}
        return {name: record["digest"] if record else None for name, record in records.items()}

    @cached_property
    def _source(self) -> str | None:
        return self._fingerprint()

    def forget_images(self) -> None:
        """Ask for the images' fingerprint again when it is next needed: they have been downloaded."""
        self.__dict__.pop("_source", None)

    def require_inputs(self, stage: str) -> None:
        """Raise UserError, naming the stage to run first, where an input is incomplete."""
        for needed in STAGES[stage].inputs:
            if reason := self.why_incomplete(needed):
                raise UserError(f"{stage} depends on {needed}, which is incomplete: {reason}. Run {needed} first.")

    def part_is_done(self, part: int) -> bool:
        """Whether a part of the conversion is there, for the settings and images wanted now."""
        return self._part_was_made(part) or not self.why_incomplete("convert")

    def _part_was_made(self, part: int) -> bool:
        return self.matches("convert", _read_json(self._part_file(part)))

    def _part_file(self, part: int) -> Path:
        return self.run.records / "parts" / f"{part:05d}-of-{self.run.recipe.records.parts:05d}.json"

    @contextlib.contextmanager
    def stage(self, stage: str) -> Iterator[Attempt | None]:
        """Lock what a stage writes, and the records that it reads together with other readers, while it runs.

        Yields None where the stage is complete: another process may have finished it while this one waited.
        """
        with contextlib.ExitStack() as locks:
            if stage == "convert":  # two runs on the same images: the second waits, and finds the work done
                locks.enter_context(locked(self.run.records, wait=math.inf))
            else:
                locks.enter_context(locked(self.run.records, shared=True, wait=math.inf))
                locks.enter_context(locked(self.run.stage_folder(stage), wait=KILLED_SECONDS))
            yield Attempt(self, stage) if self.why_incomplete(stage) else None

    @contextlib.contextmanager
    def part(self, part: int) -> Iterator[None]:
        """Lock the records together with those who make other parts of them, and note the part as done at the end."""
        while True:
            with locked(self.run.records, shared=True, wait=math.inf):
                if self._conversion_has_begun():
                    yield
                    make_folder(self._part_file(part).parent)
                    _write_json(self._part_file(part), self.identity("convert"))
                    return
            with locked(self.run.records, wait=math.inf):
                if not self._conversion_has_begun():
                    Attempt(self, "convert").begin()

    def _conversion_has_begun(self) -> bool:
        begun = _read_json(self.run.records / "begun.json")
        return self.matches("convert", begun) or not self.why_incomplete("convert")


class Attempt:
    """The work on a stage, from `begin` to `finish`. Its folder is locked."""

    def __init__(self, ledger: Ledger, stage: str):
        self.ledger = ledger
        self._run, self._stage = ledger.run, stage
        self.folder = ledger.run.stage_folder(stage)
        self.number = 1
        self._begun: dict[str, Any] = {}

    def begin(self) -> None:
        """Prepare the stage's folder, and keep what an earlier attempt at the same settings and inputs left.

        Moves everything else to the trash folder, and says so.
        """
        make_folder(self.folder)
        wanted = self.ledger.identity(self._stage)
        earlier = _read_json(self.folder / "begun.json") or self.ledger.record(self._stage)
        if not self.ledger.matches(self._stage, earlier):
            earlier = None
        if earlier is None and any(entry.name != ".lock" for entry in self.folder.iterdir()):
            self._move_to_trash()
        if earlier:
            self.number = earlier.get("attempts", 0) + 1
        self._begun = wanted | {"start": earlier["start"] if earlier else _now(), "attempts": self.number}
        for leftover in self.folder.rglob(".*.partial"):  # of writers that were killed: nobody else writes here now
            leftover.unlink(missing_ok=True)
        _write_json(self.folder / "begun.json", self._begun)
        (self.folder / "stage.json").unlink(missing_ok=True)
        if self._stage != "convert":
            with atomic(self._run.folder / "recipe.toml", "w") as file:
                file.write(self._run.recipe.toml())

    def finish(
        self,
        outputs: Iterable[Path],
        *,
        byproducts: Iterable[Path] = (),
        checksums: dict[str, str] | None = None,
        **facts: Any,
    ) -> None:
        """Write stage.json, last of all. `facts` go into it.

        `outputs` decide the digest that the stages downstream depend on. `byproducts` (logs, pictures: whatever has
        times in it) only have to exist. `checksums` (SHA-256 by name) saves reading large files again.
        """
        files = {}
        for path, counts in [(path, True) for path in outputs] + [(path, False) for path in byproducts]:
            name = str(path.relative_to(self.folder))
            files[name] = {"size": path.stat().st_size, "sha256": (checksums or {}).get(name) or sha256(path)}
            if not counts:
                files[name]["byproduct"] = True
        identity = {key: self._begun[key] for key in ("stage", "version", "settings", "inputs")}
        identity["outputs"] = {name: file["sha256"] for name, file in files.items() if "byproduct" not in file}
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        done = self._begun | {"digest": digest, "end": _now(), **facts, **provenance(), "outputs": files}
        _write_json(self.folder / "stage.json", done)
        (self.folder / "begun.json").unlink(missing_ok=True)

    def _move_to_trash(self) -> None:
        trash = self._run.artifacts / "trash"
        make_folder(trash)
        owner = self._run.records_name if self._stage == "convert" else self._run.name
        stem = f"{datetime.now().strftime('%Y%m%d-%H%M%S')}-{owner}-{self._stage}"
        target = next(path for n in range(1000) if not (path := trash / (f"{stem}-{n}" if n else stem)).exists())
        target.mkdir()
        for entry in list(self.folder.iterdir()):
            if entry.name != ".lock":  # this very process has it
                entry.rename(target / entry.name)
        title = STAGES[self._stage].title
        logger.info("moved the earlier %s results (of other settings or images) to %s", title, target)


def _affecting(stage: str, recipe: Recipe) -> dict[str, dict[str, Any]]:
    return {section: getattr(recipe, section).affecting_results() for section in STAGES[stage].sections}


def _with_defaults(stage: str, recorded: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Recorded settings as today's code has them. One that was added since counts as its default, which therefore must
    do what the code did before; one that was removed is left out."""
    defaults = _affecting(stage, Recipe())
    return {
        section: {key: recorded.get(section, {}).get(key, default) for key, default in values.items()}
        for section, values in defaults.items()
    }


def _missing_or_changed(folder: Path, outputs: dict[str, Any]) -> str:
    for name, output in outputs.items():
        try:
            size = (folder / name).stat().st_size
        except OSError:
            return f"{folder / name} is missing"
        if size != output["size"]:
            return f"{folder / name} has {size} bytes, not {output['size']}"
    return ""


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _read_json(path: Path) -> dict[str, Any] | None:
    """None for a file that is missing or cannot be read: either way the stage is not known to be complete."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic(path, "w") as file:
        json.dump(content, file, indent=1)
        file.write("\n")

"""What there is to check of a data set and of a run: each file, how, and what mends it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from resnet.errors import UserError
from resnet.ledger.state_files import read_state
from resnet.locks import is_locked
from resnet.records.shards import SPLITS, Shard
from resnet.run import luigi_command, run_options, stored_recipe
from resnet.stage_table import STAGES
from resnet.training.checkpoint_files import checkpoint_path, checkpoint_steps
from resnet.verification.file_checks import why_other_bytes, why_other_records, why_other_summary, why_other_tensors

SHARDS = tuple(f"{split}-" for split in SPLITS)


class Finding(NamedTuple):
    """Something that is not as it should be. `mend`: a command, or what to do."""

    file: str
    why: str
    mend: str


class Check(NamedTuple):
    """A file to read. `why` says why it is corrupt, or is empty. `is_needed`: whether anything depends on the file."""

    path: Path
    why: Callable[[], str]
    mend: str
    is_needed: bool = True
    within: Path | None = None  # the folder that no link may lead out of; None for records in place, which are links

    @property
    def size(self) -> int:
        """Bytes; 0 of a file that is missing."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def finding(self) -> Finding | None:
        """None where the file is as it was written."""
        try:
            leads_out = self.within is not None and not self.path.resolve().is_relative_to(self.within.resolve())
            why = "it leads out of the artifacts folder, and is not followed" if leads_out else self.why()
        except FileNotFoundError:
            why = "it is missing" if self.is_needed else ""
        except OSError as error:
            why = f"it cannot be read: {error.strerror}"
        except (UserError, RuntimeError) as error:  # a disk that is away; a link that leads to itself
            why = f"it cannot be read: {error}"
        return Finding(str(self.path), why, self.mend) if why else None


def checks_of_data_set(folder: Path, run: Path | None) -> Iterator[Check | Finding]:
    """The records in a folder. `run`: the folder of a run that is made of them."""
    if is_locked(folder) and not (folder / "stage.json").exists():
        return
    record = _state(folder)
    if isinstance(record, Finding):
        yield record
    elif record:
        again = luigi_command("ConvertRecords", run) if run else "luigi --module pipeline ConvertRecords ..."
        options, artifacts = run_options(run) if run else "", folder.parent.parent
        is_in_place = record["settings"].get("records", {}).get("in_place", False)
        for name, output in record["outputs"].items():
            path = folder / name
            is_shard, is_index = name.startswith(SHARDS), name.startswith("index/")
            if path.is_symlink():
                mend = f"restore {os.path.realpath(path)} from a copy: these records are used in place"
            elif is_shard or is_index:
                mend = (
                    f"python -m resnet verify {options} --mend"
                    if run
                    else "convert the images again: no run is of them"
                )
            else:
                mend = f"rm {shlex.quote(str(path))} && {again}"
            if is_shard:
                summary = Shard(folder, name).summary_path
                yield Check(summary, partial(why_other_summary, summary), mend, within=artifacts)
            why = why_other_records if is_shard else why_other_bytes
            within = None if is_shard and is_in_place else artifacts
            yield _check(path, partial(why, path, output["sha256"]), mend, output, within)


def checks_of_run(folder: Path) -> Iterator[Check | Finding]:
    """A run's own files: its recipe, and what its stages wrote, but the records."""
    try:
        stored_recipe(folder)
    except UserError as error:
        yield _corrupt(folder / "recipe.toml", str(error))
    for stage in STAGES:
        if stage != "convert" and not is_locked(folder / stage):
            yield from _checks_of_stage(folder, stage)
    checkpoints = folder / "train" / "checkpoints"
    for step in checkpoint_steps(checkpoints) if checkpoints.is_dir() and not is_locked(folder / "train") else ():
        path = checkpoint_path(checkpoints, step)
        mend = f"rm {shlex.quote(str(path))}  # should training go on, the checkpoint before it is used"
        yield Check(path, partial(why_other_tensors, path), mend, within=folder.parent.parent)


def _checks_of_stage(folder: Path, stage: str) -> Iterator[Check | Finding]:
    record = _state(folder / stage)
    if isinstance(record, Finding):
        yield record
    elif record:
        for name, output in record["outputs"].items():
            path = folder / stage / name
            mend = _way_to_make(path, folder, stage, record)
            yield _check(path, partial(why_other_bytes, path, output["sha256"]), mend, output, folder.parent.parent)


def _check(path: Path, why: Callable[[], str], mend: str, output: Mapping[str, Any], within: Path | None) -> Check:
    """A byproduct has times in it, and nothing depends on it: it would not come out the same."""
    is_byproduct = "byproduct" in output
    return Check(path, why, "" if is_byproduct else mend, not is_byproduct, within)


def _way_to_make(path: Path, folder: Path, stage: str, record: Mapping[str, Any]) -> str:
    if "imported" in record:
        again = f"python -m resnet import-weights {shlex.quote(record['imported']['file'])} {run_options(folder)}"
    else:
        again = luigi_command(STAGES[stage].title, folder)
    return f"rm {shlex.quote(str(path))} && {again}"


def _state(folder: Path) -> dict[str, Any] | Finding | None:
    """The stage.json in a folder; a finding where it, or begun.json, is corrupt."""
    for name in ("begun.json", "stage.json"):
        try:
            record = read_state(folder / name)
        except UserError as error:
            return _corrupt(folder / name, str(error))
    return record


def _corrupt(path: Path, message: str) -> Finding:
    """A message about a corrupt file as what is wrong, and what to do: the sentences after the first."""
    what, _, way_on = message.partition("). ")
    why = what.removeprefix(f"{path} is corrupt (")
    if not way_on:
        return Finding(str(path), message, "")
    return Finding(str(path), why if why != what else f"{what})", way_on)  # otherwise it is about another file

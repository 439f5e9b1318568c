"""Results that were made elsewhere: a folder of records, or a run, of another artifacts folder becomes one of this one.

Every file is verified first. stage.json says from then on where the stage comes from. TFRecords that were not made by
this project are converted, or used in place (`records.in_place`); weights of others are imported.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from resnet.errors import UserError
from resnet.files import atomic_folder
from resnet.ledger.displacing import entries_of
from resnet.ledger.locking import KILLED_SECONDS
from resnet.ledger.state_files import read_state, write_state
from resnet.locks import LOCK, is_locked, locked
from resnet.stage_table import STAGES
from resnet.verification import SHARDS, Verdict, checks_of_data_set, checks_of_run, verify

KINDS = {"records": "a folder of records", "runs": "a run"}
LEFT_BEHIND = {LOCK, "progress.json", "stale.txt"}


def kind_of_folder(folder: Path) -> str:
    """What the folder is: "records" or "runs". Raises UserError for anything else."""
    if (folder / "recipe.toml").is_file():
        return "runs"
    if (folder / "stage.json").is_file() and (folder / "index").is_dir():
        return "records"
    raise UserError(
        f"{folder} is neither a folder of records (artifacts/records/NAME, with stage.json and index) nor of a run "
        "(artifacts/runs/NAME, with recipe.toml). Weights of others: python -m resnet import-weights. TFRecords of "
        "others: records.in_place, see docs/data.md."
    )


def adopt(folder: Path, artifacts: Path, name: str) -> tuple[Path, Verdict]:
    """Verify a folder, and make it one of this artifacts folder, under this name; returns it, and what was verified.

    Large files are linked where the disk is the same, and copied otherwise. Raises UserError where one is corrupt, or
    there are results of that name.
    """
    kind = kind_of_folder(folder)
    target = artifacts / kind / name
    if folder.resolve() == target.resolve():
        raise UserError(f"{folder} is in this artifacts folder already.")
    if busy := [place for place in (folder, *(folder / name for name in STAGES)) if is_locked(place)]:
        raise UserError(f"a process is at work on {busy[0]}: wait for it.")
    files = list(_files(folder))
    checks = checks_of_data_set(folder, None) if kind == "records" else checks_of_run(folder)
    with locked(target, wait=KILLED_SECONDS):
        if taken := [entry for entry in entries_of(target) if entry.name != LOCK]:
            raise UserError(f"{target} has something already ({taken[0].name}): give another --name, or move it away.")
        verdict = verify(checks, [])
        if verdict.corrupt:
            first = verdict.corrupt[0]
            raise UserError(
                f"{first.file} is corrupt: {first.why} ({len(verdict.corrupt)} such files). Nothing was adopted: mend "
                "it where it comes from."
            )
        with atomic_folder(target) as made:
            _take(files, folder, made)
            for stage in _stages(made, kind):
                _say_so(made if kind == "records" else made / stage, folder, verdict)
    return target, verdict


def _take(files: Iterable[Path], folder: Path, made: Path) -> None:
    for path in files:
        target = made / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():  # of records that are used in place
            target.symlink_to(os.path.realpath(path))
        else:
            _link_or_copy(path, target)


def _files(folder: Path) -> Iterator[Path]:
    """Raises UserError for a folder that is a link."""
    for place, folders, names in os.walk(folder):
        if links := [name for name in folders if os.path.islink(os.path.join(place, name))]:
            raise UserError(
                f"{os.path.join(place, links[0])} is a link to a folder: put the folder itself in its place."
            )
        yield from (Path(place) / name for name in names if name not in LEFT_BEHIND)


def _link_or_copy(path: Path, target: Path) -> None:
    """Large files are replaced, never changed in place, so a link is as good as a copy. Logs are appended to."""
    try:
        if path.name.startswith(SHARDS) or path.suffix in (".npy", ".safetensors"):
            os.link(path, target)
            return
    except OSError:  # another disk, or one without links
        pass
    shutil.copy2(path, target)


def _stages(made: Path, kind: str) -> list[str]:
    if kind == "records":
        return ["convert"]
    return [name for name in STAGES if (made / name / "stage.json").is_file()]


def _say_so(folder: Path, origin: Path, verdict: Verdict) -> None:
    record = read_state(folder / "stage.json") or {}
    adopted = {
        "from": str(origin),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "verified_files": verdict.checked,
        "verified_bytes": verdict.size,
    }
    write_state(folder / "stage.json", record | {"adopted": adopted})

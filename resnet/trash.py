"""The trash of an artifacts folder: results that made way for others. They stay there until somebody empties it.

It follows no link: what a link in the trash, or in a stage's folder, leads to is neither counted, moved nor deleted.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from resnet.checked_json import read_json
from resnet.errors import UserError
from resnet.files import make_folder
from resnet.inventory.stages import folders_in
from resnet.ledger import Ledger, displacing
from resnet.ledger.displacing import LABEL, entries_of
from resnet.ledger.locking import KILLED_SECONDS
from resnet.ledger.state_files import read_state
from resnet.locks import GLANCE_SECONDS, locked
from resnet.run import NAME, Run
from resnet.stage_table import STAGES

CORRUPT = "corrupt"  # why `verify --mend` moves files here

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trashed:
    """A folder of the trash: the results of a stage, or some of their files. `origin`: the folder that they were in,
    relative to the artifacts folder; None where nothing says so, as in those of earlier versions."""

    folder: Path
    stage: str = ""
    origin: PurePosixPath | None = None
    why: str = ""

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def owner(self) -> str:
        """The run or data set that it is of; empty where nothing says so."""
        return self.origin.parts[1] if self.origin else ""

    @property
    def size(self) -> int:
        """Bytes of all files in it."""
        return sum(path.lstat().st_size for path in _files(self.folder))


def read_trash(artifacts: Path) -> list[Trashed]:
    """What is in the trash, the newest first. Raises UserError for a trash that is a link to another place."""
    trash = artifacts / "trash"
    if trash.is_symlink():
        raise UserError(f"{trash} is a link, and links are not followed: delete it, or give another --artifacts.")
    try:
        entries = sorted(trash.iterdir(), reverse=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [_read(entry) for entry in entries]


def named(trash: Sequence[Trashed], names: Sequence[str], *, newest: bool = False) -> list[Trashed]:
    """Those of these names, or of a run or data set of this name: all of it, or the `newest` results of each stage,
    of a run where both have the name, without files that were set aside as corrupt.

    Raises UserError for a name of none.
    """
    found: list[Trashed] = []
    for name in names:
        folders = [one for one in trash if one.name == name]
        owned = [one for one in trash if one.owner == name]
        if not folders and not owned:
            raise UserError(f"the trash has no {name!r}: `python -m resnet trash` lists what it has.")
        chosen = folders or (_newest(owned) if newest else owned)
        if not chosen:
            raise UserError(f"of {name!r}, the trash has corrupt files only: give the name of their folder there.")
        found += [one for one in chosen if one not in found]
    return found


def _newest(trash: Sequence[Trashed]) -> list[Trashed]:
    whole = [one for one in trash if one.why != CORRUPT]
    of_run = [one for one in whole if one.stage != "convert"]
    return list({one.origin: one for one in reversed(of_run or whole)}.values())


def delete(trashed: Trashed) -> None:
    """Delete it for good; where it is a link, the link."""
    if trashed.folder.is_symlink() or not trashed.folder.is_dir():
        trashed.folder.unlink()
    else:
        shutil.rmtree(trashed.folder)


def restore(artifacts: Path, trashed: Trashed, *, swap: bool = False) -> Path:
    """Move results back to where they were; returns the folder.

    `swap`: those that have taken their place move to the trash. Raises UserError where that is not asked for, and
    where nothing says where the results come from.
    """
    folder = require_restorable(artifacts, trashed, swap=swap)
    make_folder(folder)
    with ExitStack() as locks:
        if _is_of_run(trashed):  # a `luigi` that is at work on the run counts on what it has seen
            locks.enter_context(locked(folder.parent, wait=GLANCE_SECONDS))
        locks.enter_context(locked(folder, wait=KILLED_SECONDS))
        back = _files_back(trashed)
        if swap:
            _make_room(artifacts, trashed, back)
        require_restorable(artifacts, trashed, swap=False)
        for name in sorted(back, key=lambda name: name.name == "stage.json"):  # which says: done
            make_folder((folder / name).parent)
            (trashed.folder / name).rename(folder / name)
        delete(trashed)
    try:
        _unmark(artifacts, trashed)
    except UserError as error:
        logger.warning("what depends on %s may be called stale: %s", folder, error)
    return folder


def require_restorable(artifacts: Path, trashed: Trashed, *, swap: bool = False) -> Path:
    """The folder that results would go back to. Raises UserError as `restore`, and moves nothing."""
    if trashed.origin is None or trashed.folder.is_symlink():
        raise UserError(f"nothing says where {trashed.folder} comes from: move its content back by hand.")
    folder = artifacts / trashed.origin
    back = _files_back(trashed)
    for parent in {folder, *((folder / name).parent for name in back)}:
        _require_inside(artifacts, parent)
    taken = sorted(str(name) for name in back if os.path.lexists(folder / name))
    can_swap = _is_of_run(trashed) and _ledger(artifacts, trashed) is not None
    if taken and not (swap and can_swap):
        way_on = "with --swap, they move to the trash" if can_swap else "move them away by hand"
        raise UserError(f"{folder} has other results now ({', '.join(taken[:3])}): {way_on}.")
    return folder


def why_unfit(artifacts: Path, trashed: Trashed) -> str:
    """Why restored results of a run are not up to date: it has other settings now, for one. Empty where they are."""
    ledger = _ledger(artifacts, trashed)
    record = _record(ledger, trashed.stage) if ledger else None
    return ", ".join(ledger.differences(trashed.stage, record, with_inputs=False)) if ledger and record else ""


def _is_of_run(trashed: Trashed) -> bool:
    return trashed.origin is not None and trashed.origin.parts[0] == "runs"


def _files_back(trashed: Trashed) -> list[Path]:
    files = [path for path in trashed.folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return [path.relative_to(trashed.folder) for path in files if path != trashed.folder / LABEL]


def _make_room(artifacts: Path, trashed: Trashed, back: Sequence[Path]) -> None:
    """Move what is in the way to the trash: all results of the stage, unless only some of its files come back."""
    if ledger := _ledger(artifacts, trashed):
        folder = ledger.run.stage_folder(trashed.stage)
        is_whole = (trashed.folder / "begun.json").exists()
        in_the_way = [folder / name for name in back if os.path.lexists(folder / name)]
        entries = entries_of(folder) if is_whole else in_the_way
        displacing.move(ledger, trashed.stage, _record(ledger, trashed.stage), entries, f"{trashed.name} is restored")


def _unmark(artifacts: Path, trashed: Trashed) -> None:
    """Take the marks off what fits the results that are back, in all runs where these are records."""
    if ledger := _ledger(artifacts, trashed):
        record = _record(ledger, trashed.stage)
        if record and "digest" in record:
            displacing.unmark(ledger, trashed.stage, record["digest"])
    elif trashed.origin and (record := _state(artifacts / trashed.origin)):
        for run in folders_in(artifacts / "runs"):
            if displacing.is_trained_on(run, record["digest"]) and (of_run := _ledger_of(artifacts, run.name)):
                displacing.unmark(of_run, trashed.stage, record["digest"])


def _state(folder: Path) -> dict[str, Any] | None:
    try:
        return read_state(folder / "stage.json")
    except UserError:
        return None


def _record(ledger: Ledger, stage: str) -> dict[str, Any] | None:
    try:
        return ledger.record(stage) or ledger.begun(stage)
    except UserError:  # of results that cannot be read, nothing is known
        return None


def _ledger(artifacts: Path, trashed: Trashed) -> Ledger | None:
    """The ledger of the run that results are of; None for records, and where the run cannot be read."""
    return _ledger_of(artifacts, trashed.owner) if _is_of_run(trashed) else None


def _ledger_of(artifacts: Path, run: str) -> Ledger | None:
    try:
        return Ledger(Run.of(name=run, artifacts=artifacts), lambda: None)
    except UserError:
        return None


def _read(folder: Path) -> Trashed:
    if folder.is_symlink() or not folder.is_dir():
        return Trashed(folder)
    try:
        label = read_json(folder / LABEL, {"stage", "folder", "why"}, "") or {}
    except UserError:
        label = {}
    origin = PurePosixPath(str(label.get("folder", "")))
    return Trashed(folder, str(label["stage"]), origin, str(label["why"])) if _is_a_stages(origin) else Trashed(folder)


def _is_a_stages(origin: PurePosixPath) -> bool:
    """Whether a path is of a stage's folder: records/NAME or runs/NAME/STAGE."""
    kind, *names = origin.parts or ("",)
    if not all(re.fullmatch(f"_*{NAME}", name) for name in names):  # of a data set, what its folder is called
        return False
    return (kind == "records" and len(names) == 1) or (kind == "runs" and len(names) == 2 and names[1] in STAGES)


def _require_inside(artifacts: Path, folder: Path) -> None:
    for parent in (folder, *folder.parents):
        if parent == artifacts:
            return
        if parent.is_symlink():
            raise UserError(f"{parent} is a link, and nothing is moved through links: move the content back by hand.")


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_symlink() or not folder.is_dir():
        yield folder
        return
    for path, _, names in os.walk(folder):
        yield from (Path(path) / name for name in names)

"""The state of a stage, from its state files and its lock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from resnet.errors import UserError
from resnet.ledger.displacing import STALE
from resnet.ledger.state_files import read_state
from resnet.locks import LOCK, is_locked


class State(str, Enum):
    """What became of a stage, as far as its folder says. Whether its settings are those wanted now, the ledger says."""

    FINISHED = "finished"
    IMPORTED = "imported"  # its weights come from elsewhere
    STALE = "stale"  # it belongs to earlier results of what it depends on
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    MISSING = "missing"
    UNREADABLE = "unreadable"


class StageFacts(NamedTuple):
    """A stage of a run, or of a data set."""

    state: State
    record: Mapping[str, Any] = {}  # stage.json; begun.json of a stage that is running or was interrupted
    why: str = ""  # where it is stale or unreadable

    @property
    def is_finished(self) -> bool:
        """Whether there is a stage.json: its results can be looked at, stale or not."""
        return self.state in (State.FINISHED, State.IMPORTED, State.STALE)

    @property
    def last_activity(self) -> datetime | None:
        """When the stage ended, or else when its last attempt began."""
        times = [time_of(self.record.get(key)) for key in ("end", "attempt_start", "start")]
        return next((time for time in times if time), None)


def read_stage(folder: Path) -> StageFacts:
    """The state of the stage that writes `folder`, whatever is there."""
    try:
        record, begun = read_state(folder / "stage.json"), read_state(folder / "begun.json")
    except UserError as error:
        return StageFacts(State.UNREADABLE, why=str(error))
    except RecursionError:
        return StageFacts(State.UNREADABLE, why=f"{folder} has a state file that is nested too deeply")
    if record is None:
        if begun is None:
            return StageFacts(State.MISSING)
        return StageFacts(State.RUNNING if is_locked(folder) else State.INTERRUPTED, begun)
    if (folder / STALE).exists():
        return StageFacts(State.STALE, record, f"what it depends on has moved away: see {STALE}")
    return StageFacts(State.IMPORTED if "imported" in record else State.FINISHED, record)


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder that something has come of, sorted; none in one that is missing.

    A stage that ends before it begins leaves folders with nothing but locks. Raises OSError for one that cannot be
    listed.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not _has_only_locks(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _has_only_locks(folder: Path) -> bool:
    try:
        entries = list(folder.iterdir())
    except OSError:  # that is a problem, which reading it will show
        return False
    return bool(entries) and all(e.name == LOCK or (_is_real(e) and _has_only_locks(e)) for e in entries)


def _is_real(folder: Path) -> bool:
    """Whether it is a folder, and no link to one."""
    return folder.is_dir() and not folder.is_symlink()


def number_at(record: Any, *keys: str) -> float | None:
    """The finite number under nested keys of a JSON object; None where there is none."""
    for key in keys:
        record = record.get(key) if isinstance(record, Mapping) else None
    is_number = isinstance(record, (int, float)) and not isinstance(record, bool)
    return record if is_number and math.isfinite(record) else None


def count_at(record: Any, *keys: str) -> int | None:
    """Likewise a whole number that is not negative."""
    number = number_at(record, *keys)
    return int(number) if number is not None and number >= 0 and number == int(number) else None


def time_of(text: object) -> datetime | None:
    """A time of a state file; None for what is none. One without an offset counts as UTC."""
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
        return time.astimezone(timezone.utc) if time and time.tzinfo else time and time.replace(tzinfo=timezone.utc)
    except (ValueError, OverflowError):
        return None


def newest(times: list[datetime | None]) -> datetime:
    """The newest of the times that are known; the beginning of time where none is."""
    return max((time for time in times if time), default=datetime.min.replace(tzinfo=timezone.utc))

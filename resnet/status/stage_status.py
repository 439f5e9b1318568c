"""The state of one stage, against what is wanted of it now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from resnet.checked_json import Corrupt
from resnet.errors import UserError
from resnet.inventory import stages as inventory
from resnet.inventory.runs import read_scores
from resnet.inventory.stages import StageFacts, count_at, number_at, read_stage, time_of
from resnet.ledger import Ledger
from resnet.ledger.lengthening import lengthened_from
from resnet.locks import lock_owner
from resnet.progress import PROGRESS
from resnet.stage_log import last_error, newest_log
from resnet.stage_table import STAGES
from resnet.training.checkpoint_files import checkpoint_steps
from resnet.training.schedule import Schedule


class State(str, Enum):
    """A stage as a user sees it."""

    UP_TO_DATE = "up to date"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    STALE = "stale"
    MISSING = "missing"
    UNREADABLE = "unreadable"  # a state file is corrupt


@dataclass(frozen=True)
class StageStatus:
    """What is not known, or does not apply, is None or empty."""

    stage: str
    state: State
    why: str = ""  # of every state but up to date
    figure: str = ""  # what came of it, in a few words
    ended: datetime | None = None
    seconds: float | None = None  # of work, over all attempts
    attempts: int | None = None
    fraction: float | None = None  # how far it is
    message: str = ""  # what it said last
    owner: str = ""  # who runs it: "pid 7 on host"
    seconds_left: float | None = None
    resumes_at: int | None = None  # the steps of the training that are saved
    log: Path | None = None  # of the newest attempt

    @property
    def title(self) -> str:
        return STAGES[self.stage].title

    def as_json(self) -> dict[str, Any]:
        """For other programs: the fields that are known."""
        values = {name: value for name, value in vars(self).items() if value not in (None, "")}
        values |= {"state": self.state.value, "why": self.why}
        values |= {"ended": self.ended.isoformat()} if self.ended else {}
        return values | ({"log": str(self.log)} if self.log else {})


def stage_status(ledger: Ledger, stage: str, before: Mapping[str, StageStatus]) -> StageStatus:
    """The status of a stage. `before`: those of the stages that it depends on."""
    folder = ledger.run.stage_folder(stage)
    facts = read_stage(folder)
    found = _found(ledger, stage, facts, before)
    return replace(found, attempts=count_at(facts.record, "attempts"), log=newest_log(folder))


def _found(ledger: Ledger, stage: str, facts: StageFacts, before: Mapping[str, StageStatus]) -> StageStatus:
    if facts.state is inventory.State.UNREADABLE:
        return StageStatus(stage, State.UNREADABLE, facts.why)
    if facts.state is inventory.State.RUNNING:
        return _running(stage, ledger.run.stage_folder(stage))
    try:
        if stage == "convert":
            ledger.require_own_records()
        why = ledger.why_itself_incomplete(stage)
    except Corrupt as error:
        return StageStatus(stage, State.UNREADABLE, str(error))
    except UserError as error:
        return StageStatus(stage, State.STALE, str(error))
    if facts.state is inventory.State.MISSING:
        return StageStatus(stage, State.MISSING, why)
    if facts.state is inventory.State.INTERRUPTED:
        begins_again = ledger.why_not_continued(stage, dict(facts.record))
        return StageStatus(stage, State.STALE, why) if begins_again else _interrupted(ledger, stage)
    found = _finished(stage, facts.record, why or _why_inputs_are_stale(stage, before))
    return _resuming(ledger, found) if stage == "train" and lengthened_from(ledger, dict(facts.record)) else found


def _why_inputs_are_stale(stage: str, before: Mapping[str, StageStatus]) -> str:
    found = (one for name, one in before.items() if name in STAGES[stage].inputs and one.state is not State.UP_TO_DATE)
    return next((f"it depends on {one.title}, which is {one.state.value}" for one in found), "")


def _running(stage: str, folder: Path) -> StageStatus:
    said = _progress(folder)
    return StageStatus(
        stage,
        State.RUNNING,
        "a process is at work on it",
        fraction=number_at(said, "fraction"),
        message=str(said.get("message") or ""),
        owner=lock_owner(folder),
        seconds_left=number_at(said, "seconds_left"),
    )


def _interrupted(ledger: Ledger, stage: str) -> StageStatus:
    folder = ledger.run.stage_folder(stage)
    said, error = _progress(folder), last_error(newest_log(folder))
    found = StageStatus(
        stage,
        State.INTERRUPTED,
        f"its last attempt failed: {error}" if error else "it was interrupted",
        fraction=number_at(said, "fraction"),
        message=str(said.get("message") or ""),
    )
    return _resuming(ledger, found) if stage == "train" else found


def _resuming(ledger: Ledger, training: StageStatus) -> StageStatus:
    """How far a training is by its newest checkpoint."""
    if not (steps := _checkpoints(ledger.run.stage_folder("train"))):
        return training
    total = steps_of_training(ledger)
    return replace(training, resumes_at=steps[-1], fraction=steps[-1] / total if total else None)


def _finished(stage: str, record: Mapping[str, Any], why: str) -> StageStatus:
    return StageStatus(
        stage,
        State.STALE if why else State.UP_TO_DATE,
        why,
        figure=figure_of(stage, record),
        ended=time_of(record.get("end")),
        seconds=number_at(record, "worked_seconds"),
    )


def figure_of(stage: str, record: Mapping[str, Any]) -> str:
    """What came of a finished stage, in a few words."""
    if "imported" in record:
        return f"imported from {record['imported'].get('file')}"
    if stage == "convert":
        counts = [count_at(record, "images", split) for split in ("train", "validation")]
        return f"{counts[0]:,} training and {counts[1]:,} validation images" if None not in counts else ""
    if stage == "train":
        epochs = count_at(record, "settings", "training", "epochs")
        return f"{epochs:,} epochs" if epochs else ""
    if stage == "evaluate" and (scores := read_scores(record)):
        return f"top-1 error {scores[0].top1_error:.2f} %"
    return ""


def steps_of_training(ledger: Ledger) -> int | None:
    """The steps of the run's whole training; None while the number of images is not known."""
    try:
        images = count_at(ledger.record("convert") or {}, "images", "train")
    except UserError:
        return None
    return Schedule(ledger.run.recipe.training, images).steps if images else None


def _checkpoints(folder: Path) -> list[int]:
    try:
        return checkpoint_steps(folder / "checkpoints")
    except OSError:
        return []


def _progress(folder: Path) -> dict[str, Any]:
    try:
        said = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}

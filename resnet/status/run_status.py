"""The status of a run: of all its stages together."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resnet.errors import UserError
from resnet.ledger import Ledger
from resnet.ledger.displacing import require_discardable
from resnet.locks import lock_owner
from resnet.progress import time_text
from resnet.run import Run
from resnet.stage_table import STAGES
from resnet.status.forecast import Forecast, forecast
from resnet.status.stage_status import StageStatus, State, stage_status

MOST_LETTERS = 200  # of an error, in a table


@dataclass(frozen=True)
class RunStatus:
    """`next`: what FullRun would run, and how long that would take. `owner`: the `luigi` that is at work on the run."""

    run: Run
    stages: Mapping[str, StageStatus]
    next: Forecast
    owner: str = ""
    refusal: str = ""  # what FullRun says instead, where it would displace finished work

    @property
    def is_up_to_date(self) -> bool:
        return all(stage.state is State.UP_TO_DATE for stage in self.stages.values())

    def as_json(self) -> dict[str, Any]:
        """For other programs."""
        return {
            "run": self.run.name,
            "recipe": self.run.recipe_name,
            "artifacts": str(self.run.artifacts),
            "owner": self.owner,
            "stages": [stage.as_json() for stage in self.stages.values()],
            "next": list(self.next.seconds),
            "seconds": self.next.total,
            "refusal": self.refusal,
        }

    def lines(self) -> list[str]:
        """For people."""
        head = f"run {self.run.name} (recipe {self.run.recipe_name}) in {self.run.artifacts}"
        width = max(len(stage.title) for stage in STAGES.values())
        rows = [
            f"  {one.title:<{width}}  {one.state.value:<11}  {_in_words(one)}".rstrip() for one in self.stages.values()
        ]
        new = [] if self.run.stored_recipe.exists() else [self.run.note or f"run {self.run.name} has not begun"]
        return [head, *new, *([f"luigi is at work on it ({self.owner})"] if self.owner else []), *rows, *self._way_on()]

    def _way_on(self) -> list[str]:
        if self.is_up_to_date:
            return ["FullRun has nothing to do."]
        titles = [STAGES[stage].title for stage in self.next.seconds]
        asks = ["It asks first:", *(f"  {line}" for line in self.refusal.splitlines())] if self.refusal else []
        return [f"FullRun would run {_listed(titles)}: {self._time()}.", *asks] if titles else []

    def _time(self) -> str:
        known = sum(seconds for seconds in self.next.seconds.values() if seconds is not None)
        if not self.next.unknown:
            return f"about {time_text(known)}, as earlier runs"
        if len(self.next.unknown) == len(self.next.seconds):
            return "how long that takes, no earlier run tells"
        titles = [STAGES[stage].title for stage in self.next.unknown]
        return f"about {time_text(known)}, and {_listed(titles)}, of which no earlier run tells"


def read_status(ledger: Ledger) -> RunStatus:
    """Look at every stage of a run, and at what would run next."""
    stages: dict[str, StageStatus] = {}
    for name in STAGES:
        stages[name] = stage_status(ledger, name, stages)
    to_run = {name: one.fraction or 0.0 for name, one in stages.items() if one.state is not State.UP_TO_DATE}
    expected = forecast(ledger, to_run).seconds
    known = {name: one.seconds_left for name, one in stages.items() if one.seconds_left is not None}  # of what runs
    owner, refusal = lock_owner(ledger.run.folder), _refusal(ledger)
    return RunStatus(ledger.run, stages, Forecast({**expected, **known}), owner, refusal)


def _refusal(ledger: Ledger) -> str:
    try:
        require_discardable(ledger, next(reversed(STAGES)))
    except UserError as error:
        return str(error)
    return ""


def _in_words(one: StageStatus) -> str:
    if one.state is State.RUNNING:
        return ", ".join(part for part in (one.message, one.owner) if part)
    if one.state is State.INTERRUPTED:
        how_far = f"at {100 * one.fraction:.0f} %" if one.fraction is not None else ""
        resumes = f"resumes at step {one.resumes_at:,}" if one.resumes_at else ""
        why = "" if one.why == "it was interrupted" else _shortened(one)
        return ", ".join(part for part in (how_far, resumes, why) if part)
    if one.state is not State.UP_TO_DATE:
        return one.why
    when = one.ended.astimezone().strftime("%Y-%m-%d %H:%M") if one.ended else ""
    took = time_text(one.seconds) if one.seconds is not None else ""
    return "  ".join(part for part in (when, f"{took:>12}", one.figure) if part)


def _shortened(one: StageStatus) -> str:
    if len(one.why) <= MOST_LETTERS:
        return one.why
    short = textwrap.shorten(one.why, MOST_LETTERS, placeholder=" ...")
    return f"{short} (see {one.log})" if one.log else short


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

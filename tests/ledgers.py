"""Ledgers of a digits run, and stages that write small artifacts."""

from __future__ import annotations

from pathlib import Path

from resnet.ledger import Attempt, Ledger
from resnet.run import Run
from resnet.stage_table import STAGES
from resnet.stages import ledger_of


def ledger_in(artifacts: Path, *overrides: str, recipe: str = "digits", **options) -> Ledger:
    return ledger_of(Run.of(recipe, overrides, artifacts=artifacts, **options))


def begin(ledger: Ledger, stage: str) -> Attempt:
    attempt = Attempt(ledger, stage)
    attempt.begin()
    return attempt


def finish(ledger: Ledger, stage: str, content: str = "result", log: str = "took 3 s") -> dict:
    """Run a stage from begin to finish, with an output and a byproduct. Returns its stage.json."""
    attempt = begin(ledger, stage)
    folder = attempt.folder
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "output.bin").write_text(content)
    (folder / "log.txt").write_text(log)
    attempt.finish([folder / "deep" / "output.bin"], byproducts=[folder / "log.txt"])
    return ledger.finished(stage)


def finish_all(ledger: Ledger) -> Ledger:
    for stage in STAGES:
        finish(ledger, stage)
    return ledger

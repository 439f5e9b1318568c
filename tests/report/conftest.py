"""Made runs for the report, and what it reads of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from made_runs import MadeRun

from resnet.ledger import Ledger
from resnet.report.content import Content, content_of
from resnet.report.results import Results
from resnet.report.tables import Analysis
from resnet.stage_table import STAGES


@pytest.fixture
def stage_records() -> Callable[[int], dict[str, dict[str, Any]]]:
    """stage_records(images=3): what the report reads of each stage's stage.json."""
    time = "2026-01-01T00:00:00.000+00:00"
    common = {"attempts": 1, "start": time, "end": time}
    made_with = {"packages": {}, "python": "3.12.1", "host": "here", "git_commit": None}

    def make(images: int = 0) -> dict[str, dict[str, Any]]:
        run = MadeRun(filenames=["a.jpg"] * images)
        stages = ("convert", "train", "batchnorm", "evaluate")
        return json.loads(json.dumps({stage: common | made_with | run.facts(stage) for stage in stages}))

    return make


@pytest.fixture
def made_run(tmp_path) -> Callable[..., Ledger]:
    """made_run(classes=..., filenames=..., ...): the ledger of a made run before its report: see `MadeRun`."""
    return lambda *given, **named: MadeRun(*given, **named).write(tmp_path / "artifacts")


@pytest.fixture
def results_of() -> Callable[[Ledger], Results]:
    """results_of(ledger): what the report reads."""
    return lambda ledger: Results(ledger.run, {name: ledger.finished(name) for name in STAGES["report"].inputs})


@pytest.fixture
def stated(results_of) -> Callable[[Ledger], Content]:
    """stated(ledger): what the report states."""

    def state(ledger: Ledger) -> Content:
        results = results_of(ledger)
        return content_of(results, Analysis.of(results))

    return state

"""Other finished runs on the same validation images, each compared image by image."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet.analysis.answers import EvaluatedImages
from resnet.analysis.mcnemar import compare_images
from resnet.checked_json import read_json
from resnet.errors import UserError
from resnet.predictions_file import predictions_name
from resnet.report import stage_records
from resnet.report.results import Results
from resnet.run import runs_in

MOST = 20
NAMED = 4  # settings that differ


@dataclass(frozen=True)
class OtherRun:
    """Another run's result, and what its difference from this one means. Errors are percent."""

    run: str
    view: str
    finished: str  # time, ISO 8601
    top1_error: float
    top1_error_interval: list[float]
    p_value: float
    sentence: str
    settings_sentence: str  # which settings differ; empty where that is not known


@dataclass(frozen=True)
class OtherRuns:
    """The newest first. `left_out`: how many more there are; `unusable`: sentences on those that cannot be read."""

    runs: list[OtherRun]
    left_out: int
    unusable: list[str]


def other_runs(results: Results) -> OtherRuns:
    """The runs in the same artifacts folder whose Evaluate read the same records, by their digest."""
    own, artifacts = results.run.name, results.run.artifacts
    digest = results.stages["evaluate"].get("inputs", {}).get("convert")
    found: list[tuple[str, str, dict[str, Any]]] = []
    unusable = []
    for name in runs_in(artifacts):
        path = artifacts / "runs" / name / "evaluate" / "stage.json"
        try:
            record = None if name == own or digest is None else _finished(path)
        except UserError as error:
            unusable.append(str(error))
            continue
        if record and record["inputs"].get("convert") == digest:
            found.append((record["end"], name, record))
    newest = sorted(found, key=lambda one: one[:2], reverse=True)
    runs = []
    for _, name, record in newest[:MOST]:
        try:
            runs.append(_compared(results, name, record, artifacts / "runs" / name / "evaluate"))
        except UserError as error:
            unusable.append(str(error))
    return OtherRuns(runs, max(len(newest) - MOST, 0), unusable)


def _finished(path: Path) -> dict[str, Any] | None:
    """The stage.json of a run's evaluation; None where it is not finished. Raises UserError."""
    record = read_json(path, {"inputs", "outputs", "metrics", "end"}, "This report leaves that run out.")
    if record:
        stage_records.check("evaluate", record, path)
    return record


def _compared(results: Results, name: str, record: dict[str, Any], folder: Path) -> OtherRun:
    view, scores = next(iter(record["metrics"]["views"].items()))
    images = EvaluatedImages.read(folder / predictions_name(view, [view]), None, results.classes)
    title = f"run {name}" if view == results.view else f"run {name} ({view})"
    comparison = compare_images(results.images, images, title)
    return OtherRun(
        run=name,
        view=view,
        finished=record["end"],
        top1_error=scores["top1_error"],
        top1_error_interval=scores["top1_error_interval"],
        p_value=comparison.p_value,
        sentence=comparison.sentence(title),
        settings_sentence=_which_settings(results, folder.parent),
    )


def _which_settings(results: Results, folder: Path) -> str:
    """The settings that another run, by its folder, has otherwise."""
    way_on = "This report leaves that run out."
    stages = ("train", "batchnorm", "evaluate")
    own = _settings([results.stages[stage] for stage in stages])
    others = _settings([read_json(folder / stage / "stage.json", set(), way_on) or {} for stage in stages])
    differing = [name for name in own if name in others and others[name] != own[name]]
    if not own or not others:
        return ""
    if not differing:
        return "All settings are the same."
    named = [f"{name} is {json.dumps(others[name])}, here {json.dumps(own[name])}" for name in differing[:NAMED]]
    more = f"; and {len(differing) - NAMED} more" if len(differing) > NAMED else ""
    return f"Settings that differ: {'; '.join(named)}{more}."


def _settings(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The settings that finished stages record, by SECTION.KEY."""
    return {
        f"{section}.{key}": value
        for record in records
        for section, values in record.get("settings", {}).items()
        for key, value in values.items()
    }

"""All that the report states, as numbers and sentences. report.html, report.md and report.json are its three forms."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet.analysis.class_order import SUSPICIOUS, reordered_error
from resnet.report.class_errors import ClassErrors, class_errors
from resnet.report.course import Course, course_of
from resnet.report.duplicates import Duplicates, duplicates
from resnet.report.findings import (
    Selection,
    StatisticsCurve,
    Trust,
    confident_mistakes,
    label_errors,
    statistics_curve,
    trust,
)
from resnet.report.headline import Headline, headline
from resnet.report.lineage import Repetition, StageFacts, repetition, stage_facts
from resnet.report.links import File, links
from resnet.report.made import Fact, facts
from resnet.report.names import readable
from resnet.report.other_runs import OtherRuns, other_runs
from resnet.report.results import Results
from resnet.report.tables import Analysis
from resnet.weights.safetensors_header import read_facts

VERSION = 1  # of report.json


@dataclass(frozen=True)
class Content:
    """The whole report. Errors are percent, times seconds, shares and probabilities 0 to 1."""

    version: int
    title: str
    run: str
    recipe: str
    data_set: str
    finished: str  # when the evaluation ended, ISO 8601
    headline: Headline
    class_order: str  # what is wrong with the order of the classes; empty if nothing is
    others: OtherRuns
    epochs: int  # that the recipe trains for
    course: Course | None  # None: imported weights, or no log
    classes: ClassErrors
    trust: Trust
    mistakes: Selection
    label_errors: Selection
    duplicates: Duplicates | None  # None: imported weights
    statistics: StatisticsCurve | None
    facts: list[Fact]
    stages: list[StageFacts]
    repetition: Repetition
    settings: str  # the recipe as TOML
    files: list[File]


def content_of(results: Results, analysis: Analysis) -> Content:
    """The report of a run."""
    run = results.run
    return Content(
        version=VERSION,
        title=f"ResNet-{run.recipe.model.depth} on {run.records_name}",
        run=run.name,
        recipe=run.recipe_name,
        data_set=run.records_name,
        finished=results.stages["evaluate"]["end"],
        headline=headline(results),
        class_order=reordered_error(results.images).sentence if results.images.error > SUSPICIOUS else "",
        others=other_runs(results),
        epochs=run.recipe.training.epochs,
        course=_course(results),
        classes=class_errors(results, analysis.classes),
        trust=trust(analysis.calibration),
        mistakes=confident_mistakes(results),
        label_errors=label_errors(results, analysis.label_errors),
        duplicates=duplicates(results, analysis.duplicates),
        statistics=statistics_curve(results),
        facts=facts(results),
        stages=stage_facts(results),
        repetition=repetition(results),
        settings=run.recipe.toml(),
        files=links(results, list(analysis.tables())),
    )


def _course(results: Results) -> Course | None:
    if results.imported:
        return None
    recipe = results.run.recipe
    is_mixed = bool(recipe.augmentation.mixup or recipe.augmentation.cutmix)
    best = "best.safetensors"
    is_kept = best in results.stages["train"]["outputs"]
    best_step = read_facts(results.run.stage_folder("train") / best).get("step") if is_kept else None
    return course_of(results.log, recipe.training, results.log_has_changed, is_mixed, best_step)


def as_json(content: Content) -> str:
    """report.json: the content as it is. What is not known is null."""
    return json.dumps(_plain(content), indent=1) + "\n"


def _plain(value: Any) -> Any:
    """Dataclasses, tuples with names, and NumPy's numbers as what JSON has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value

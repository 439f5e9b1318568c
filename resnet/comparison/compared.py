"""One of the runs that are compared: what its files say of its settings, its result and its training."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet.analysis.answers import EvaluatedImages
from resnet.errors import UserError
from resnet.inventory.runs import Score, read_scores
from resnet.inventory.stages import number_at
from resnet.ledger.state_files import read_state
from resnet.predictions_file import predictions_name
from resnet.records.shards import read_classes
from resnet.run import Run
from resnet.training.log_format import LogLines, read_log


@dataclass(frozen=True)
class ComparedRun:
    """A run that has been evaluated. What is not known is None."""

    name: str
    recipe: str
    settings: Mapping[str, Any]  # that affect results, by SECTION.KEY
    records: str | None  # the digest of the records that it was evaluated on
    score: Score  # in the first view
    images: EvaluatedImages
    log: LogLines
    training_seconds: float | None  # None where the weights are imported
    devices: tuple[str, ...]

    @property
    def images_per_second(self) -> float | None:
        """The median of the log's lines."""
        speeds = [line["images_per_second"] for line in self.log if "images_per_second" in line]
        return statistics.median(speeds) if speeds else None


def read_run(artifacts: Path, name: str) -> ComparedRun:
    """Read a run. Raises UserError where it has not been evaluated, or its files cannot be read."""
    run = Run.of(name=name, artifacts=artifacts)
    records = {stage: _record(run, stage) for stage in ("convert", "train", "batchnorm", "evaluate")}
    evaluate, train = records["evaluate"], records["train"]
    scores = read_scores(evaluate) if evaluate else ()
    if evaluate is None or not scores:
        raise UserError(f"run {name} has not been evaluated: {run.luigi_command('Evaluate')}")
    views = list(evaluate["metrics"]["views"])
    predictions = run.stage_folder("evaluate") / predictions_name(views[0], views)
    return ComparedRun(
        name=name,
        recipe=run.recipe_name,
        settings={
            f"{section}.{key}": value
            for record in records.values()
            for section, values in (record or {"settings": {}})["settings"].items()
            for key, value in values.items()
        },
        records=evaluate["inputs"].get("convert"),
        score=scores[0],
        images=EvaluatedImages.read(predictions, None, read_classes(run.records)),
        log=read_log(run.stage_folder("train") / "log.jsonl"),
        training_seconds=number_at(train, "worked_seconds") if train and "imported" not in train else None,
        devices=tuple((train or {}).get("devices", ())),
    )


def _record(run: Run, stage: str) -> dict[str, Any] | None:
    return read_state(run.stage_folder(stage) / "stage.json")

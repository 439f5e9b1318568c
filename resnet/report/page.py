"""The report's page: one self-contained HTML file."""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from resnet.errors import UserError
from resnet.predictions_file import read_predictions
from resnet.progress import time_text
from resnet.records.shards import read_classes
from resnet.report import stage_records
from resnet.report.names import readable
from resnet.report.published import Published, agreement, expected_error, is_imagenet, published_errors
from resnet.run import Run
from resnet.stage_table import STAGES
from resnet.training.log_format import read_log

TEMPLATE = Path(__file__).parent / "page.html"
# Keys of stage.json that earlier versions wrote under another name.
FORMER_KEYS = {"doubtful": "decode_warnings", "damaged_records": "corrupt_records"}


class Results:
    """All that the report shows of a run. `stages` has each stage's stage.json, by the stage's name.
    `log_has_changed`: whether the training log differs from what training wrote.

    Raises UserError if one of the files lacks something, or is damaged.
    """

    def __init__(self, run: Run, stages: Mapping[str, dict[str, Any]], log_has_changed: bool = False):
        self.run = run
        self.stages = {name: _with_todays_keys(record) for name, record in stages.items()}
        for name, record in self.stages.items():
            stage_records.check(name, record, run.stage_folder(name) / "stage.json")
        self.log = read_log(run.stage_folder("train") / "log.jsonl")
        self.unreadable_log_lines = self.log.unreadable
        self.log_has_changed = log_has_changed
        self.classes = dict(read_classes(run.records))
        self.predictions = self._read_predictions(run.stage_folder("evaluate") / "predictions.csv")

    def _read_predictions(self, path: Path) -> pd.DataFrame:
        predictions = read_predictions(path, self.classes)
        if len(predictions) != (images := self.metrics["images"]):
            raise UserError(
                f"{path} has {len(predictions):,} images, but {images:,} were evaluated. "
                "Delete it: then `luigi` runs Evaluate again."
            )
        return predictions

    @property
    def metrics(self) -> dict[str, Any]:
        """The single centre crop's scores with their intervals, and the number of images."""
        metrics = self.stages["evaluate"]["metrics"]
        return metrics["views"]["1-crop"] | {"images": metrics["images"]}

    @property
    def imported(self) -> dict[str, str] | None:
        """Where the weights come from, if they were not trained here: `file` and `sha256`."""
        return self.stages["train"].get("imported")

    @property
    def is_on_imagenet(self) -> bool:
        """Whether the validation images are ImageNet's."""
        return is_imagenet(self.run.recipe, self.stages["convert"]["images"]["validation"], len(self.classes))

    def comparable(self) -> list[Published]:
        """The published errors that this run can be compared with: all are on ImageNet."""
        return published_errors(self.run.recipe) if self.is_on_imagenet else []

    def expectation(self) -> tuple[Published, str] | None:
        """What is published for this very recipe, and whether this run agrees with it."""
        expected = expected_error(self.run.recipe_name, self.run.recipe) if self.is_on_imagenet else None
        return (expected, agreement(self.metrics, expected)) if expected else None


def render(results: Results, pictures: Mapping[str, Path]) -> str:
    """The page, with the pictures inside it. Whatever the names in the data are, it can be encoded as UTF-8."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    run, stages, recipe = results.run, results.stages, results.run.recipe
    encoded = {name: base64.b64encode(path.read_bytes()).decode() for name, path in pictures.items()}
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        run=run,
        recipe=recipe,
        images=stages["convert"]["images"],
        names=results.classes,
        conversion=stages["convert"],
        metrics=results.metrics,
        facts=stages["train"],
        seconds=results.log[-1]["seconds"] if results.log else 0.0,
        unreadable_log_lines=results.unreadable_log_lines,
        log_has_changed=results.log_has_changed,
        published=published_errors(recipe),
        on_imagenet=results.is_on_imagenet,
        expectation=results.expectation(),
        imported=results.imported,
        confused=confused_pairs(results.predictions),
        stages=[(STAGES[name].title, record["attempts"], _duration(record)) for name, record in stages.items()],
        pictures=defaultdict(str, encoded),
        toml=recipe.toml(),
        time_text=time_text,
        count=count,
    )
    return readable(page)


def confused_pairs(predictions: pd.DataFrame, most: int = 10) -> list[tuple[str, str, int, int]]:
    """The most frequent mistakes: label, predicted class, how often, and out of how many images of the label."""
    pairs = Counter(zip(predictions["label"], predictions["class1"], strict=True))
    of = Counter(predictions["label"])
    wrong = [(label, predicted, n, of[label]) for (label, predicted), n in pairs.items() if label != predicted]
    return sorted(wrong, key=lambda row: (-row[2], *row[:2]))[:most]


def count(number: int, noun: str, plural: str = "") -> str:
    """ "1 epoch", "40 epochs"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _with_todays_keys(record: dict[str, Any]) -> dict[str, Any]:
    return {FORMER_KEYS.get(key, key): value for key, value in record.items()}


def _duration(record: dict[str, Any]) -> float:
    """Seconds of work; from start to end in records of earlier versions."""
    between = datetime.fromisoformat(record["end"]) - datetime.fromisoformat(record["start"])
    return record.get("worked_seconds", between.total_seconds())

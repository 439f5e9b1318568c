"""What a run has left that the report reads: its stages' stage.json, its log, its predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from resnet.analysis.answers import EvaluatedImages
from resnet.errors import UserError
from resnet.predictions_file import predictions_name
from resnet.records.shards import read_classes
from resnet.report import stage_records
from resnet.report.published import Published, agreement, expected_error, is_imagenet, published_errors
from resnet.run import Run
from resnet.training.log_format import read_log

# Keys of stage.json that earlier versions wrote under another name.
FORMER_KEYS = {"doubtful": "decode_warnings", "damaged_records": "corrupt_records"}


class Results:
    """All that the report shows of a run. `stages` has each stage's stage.json, by the stage's name.
    `log_has_changed`: whether the training log differs from what training wrote.

    Raises UserError if one of the files lacks something, or is corrupt.
    """

    def __init__(self, run: Run, stages: Mapping[str, dict[str, Any]], log_has_changed: bool = False):
        self.run = run
        self.stages = {name: _with_todays_keys(record) for name, record in stages.items()}
        for name, record in self.stages.items():
            stage_records.check(name, record, run.stage_folder(name) / "stage.json")
        self.log = read_log(run.stage_folder("train") / "log.jsonl")
        self.log_has_changed = log_has_changed
        self.classes = read_classes(run.records)
        self.names = _distinct_names(self.classes)
        self.images = self.view_images(self.view)

    def view_images(self, view: str) -> EvaluatedImages:
        """What the network answered in one of the views."""
        path = self.run.stage_folder("evaluate") / predictions_name(view, list(self.views))
        logits = path.with_name("logits.npy")
        images = EvaluatedImages.read(path, logits if view == self.view and logits.is_file() else None, self.classes)
        if len(images) != (evaluated := self.metrics["images"]):
            raise UserError(
                f"{path} has {len(images):,} images, but {evaluated:,} were evaluated. "
                "Delete it: then `luigi` runs Evaluate again."
            )
        return images

    @property
    def views(self) -> dict[str, dict[str, Any]]:
        """Each view's scores with their intervals. The first one is the result that is quoted."""
        return self.stages["evaluate"]["metrics"]["views"]

    @property
    def view(self) -> str:
        """The name of the first view."""
        return next(iter(self.views))

    @property
    def metrics(self) -> dict[str, Any]:
        """The first view's scores with their intervals, and the number of images."""
        return self.views[self.view] | {"images": self.stages["evaluate"]["metrics"]["images"]}

    @property
    def imported(self) -> dict[str, str] | None:
        """Where the weights come from, if they were not trained here: `file` and `sha256`."""
        return self.stages["train"].get("imported")

    @property
    def started_from(self) -> dict[str, Any] | None:
        """The weights that the training began with, if these were not random: `run` or `file`, `sha256`, `new`."""
        return self.stages["train"].get("started_from")

    @cached_property
    def is_on_imagenet(self) -> bool:
        """Whether the validation images are ImageNet's."""
        return is_imagenet(self.run.recipe, self.stages["convert"]["images"]["validation"], len(self.classes))

    def comparable(self) -> list[Published]:
        """The published errors that this run can be compared with: all are on ImageNet."""
        return published_errors(self.run.recipe) if self.is_on_imagenet else []

    def expectation(self) -> tuple[Published, str] | None:
        """What is published for this very recipe, and whether this run agrees with it, in the same view."""
        expected = expected_error(self.run.recipe_name, self.run.recipe) if self.is_on_imagenet else None
        if expected is None or expected.view not in self.views:
            return None
        return expected, agreement(self.views[expected.view], expected)


def work_seconds(record: Mapping[str, Any]) -> float:
    """Seconds of work on a stage; from start to end in records of earlier versions."""
    between = datetime.fromisoformat(record["end"]) - datetime.fromisoformat(record["start"])
    return record.get("worked_seconds", between.total_seconds())


def _distinct_names(classes: Sequence[tuple[str, str]]) -> list[str]:
    """What each class is called, with its identifier where several have one name: ImageNet has two cranes."""
    times = Counter(name for _, name in classes)
    return [
        f"{name} ({identifier})" if name and times[name] > 1 else name or identifier for identifier, name in classes
    ]


def _with_todays_keys(record: dict[str, Any]) -> dict[str, Any]:
    return {FORMER_KEYS.get(key, key): value for key, value in record.items()}

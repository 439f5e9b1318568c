"""What the report shows of each stage's stage.json, declared so that a file which lacks some of it is one message."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from resnet.errors import UserError
from resnet.stage_table import STAGES


def _is_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Time = Annotated[str, AfterValidator(_is_time)]
Interval = Annotated[list[float], Field(min_length=2, max_length=2)]


class Declared(BaseModel):
    model_config = ConfigDict(strict=True)


class Scores(Declared):
    top1_error: float
    top5_error: float
    top1_error_interval: Interval
    top5_error_interval: Interval


class Statistics(Declared):
    batches: int
    top1_error: float
    top1_error_interval: Interval
    gained: int
    lost: int


class RealLabels(Declared):
    images: int
    top1_error: float
    top1_error_interval: Interval


class Metrics(Declared):
    images: int
    views: dict[str, Scores] = Field(min_length=1)
    statistics: list[Statistics] = []
    real_labels: RealLabels | None = None


class ImageCounts(Declared):
    train: int
    validation: int


class AnyStage(Declared):
    attempts: int
    start: Time
    end: Time
    worked_seconds: float = 0.0
    inputs: dict[str, str | None] = {}
    digest: str = ""
    peak_memory: dict[str, int] = {}


class Converted(AnyStage):
    images: ImageCounts
    rejected: int
    decode_warnings: int
    converted: dict[str, int]
    reduced: dict[str, int] = {}
    left_whole: dict[str, int] = {}
    ignored: dict[str, int] = {}


class Imported(Declared):
    file: str
    sha256: str


class StartedFrom(Declared):
    run: str = ""  # or file
    file: str = ""
    sha256: str
    new: list[str]


class Trained(AnyStage):
    imported: Imported | None = None
    started_from: StartedFrom | None = None
    devices: list[str]
    hosts: int = 1
    python: str
    packages: dict[str, str]
    git_commit: str | None
    host: str
    corrupt_records: list[str] = []


class Evaluated(AnyStage):
    metrics: Metrics


SHOWN: Mapping[str, type[AnyStage]] = {"convert": Converted, "train": Trained, "evaluate": Evaluated}


def check(stage: str, record: dict[str, Any], path: Path) -> None:
    """Raise UserError if the stage.json at `path` lacks something that the report shows of it."""
    try:
        SHOWN.get(stage, AnyStage).model_validate(record)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(map(str, problem["loc"]))
        raise UserError(
            f"{path} cannot be used: {name}: {problem['msg'][0].lower()}{problem['msg'][1:]}. "
            f"Restore the file from a copy, or delete it: then `luigi` finishes {STAGES[stage].title} again."
        ) from None

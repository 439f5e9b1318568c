"""About how long stages would take here, from what they took in earlier runs that are like this one."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from resnet.errors import UserError
from resnet.inventory.stages import count_at, folders_in, number_at
from resnet.ledger import Ledger
from resnet.ledger.state_files import read_state

START_SECONDS = 4.0  # of a process, before a stage counts its time: most of it is TensorFlow's import
NETWORK = (("model", "depth"), ("model", "image_size"), ("model", "stride_in"))
# Settings on which the speed of a stage depends: where one differs, an earlier run says nothing.
SPEED = {
    "convert": (("dataset", "source"), ("records", "in_place")),
    "train": (
        *NETWORK,
        *(("training", name) for name in ("precision", "replica_batch_size", "deterministic", "freeze")),
    ),
    "batchnorm": NETWORK,
    "evaluate": (*NETWORK, ("evaluation", "views")),
    "report": (),
}

Settings = Mapping[str, Any]  # by section
Records = Mapping[str, dict[str, Any]]  # the stage.json of each finished stage of a run


class Forecast(NamedTuple):
    """Seconds by stage; None where nothing is known."""

    seconds: Mapping[str, float | None]

    @property
    def total(self) -> float | None:
        """Of all stages together; None where one of them is unknown."""
        known = [seconds for seconds in self.seconds.values() if seconds is not None]
        return sum(known) if len(known) == len(self.seconds) else None

    @property
    def unknown(self) -> list[str]:
        return [stage for stage, seconds in self.seconds.items() if seconds is None]


def forecast(ledger: Ledger, stages: Mapping[str, float]) -> Forecast:
    """What these stages would take, by the median pace of the finished runs in the artifacts folder.

    `stages`: the fraction of each that is done already.
    """
    if not stages:
        return Forecast({})
    earlier, wanted = list(_finished_runs(ledger.run.artifacts)), ledger.run.recipe.model_dump()
    images = _images(_read(ledger.run.records) or {})
    return Forecast({stage: _seconds(stage, wanted, images, earlier, done) for stage, done in stages.items()})


def _seconds(
    stage: str, wanted: Settings, images: Mapping[str, int] | None, earlier: Iterable[Records], done: float
) -> float | None:
    work = _work(stage, wanted, images)
    paces = [pace for records in earlier if (pace := _pace(stage, wanted, records))]
    return statistics.median(paces) * work * (1 - done) + START_SECONDS if work and paces else None


def _pace(stage: str, wanted: Settings, records: Records) -> float | None:
    """Seconds that a finished run took for a unit of work; None where it was of another kind, or that is not known."""
    record = records.get(stage)
    if record is None or "imported" in record or "adopted" in record:
        return None
    settings = {section: values for one in records.values() for section, values in one["settings"].items()}
    if any(settings.get(section, {}).get(name) != wanted[section][name] for section, name in SPEED[stage]):
        return None
    work, worked = _work(stage, settings, _images(records.get("convert", {}))), number_at(record, "worked_seconds")
    return worked / work if work and worked else None


def _work(stage: str, settings: Settings, images: Mapping[str, int] | None) -> float | None:
    """How much a stage has to do, in units that take the same time in runs of its kind."""
    if stage == "report":
        return 1.0
    if stage == "batchnorm":
        return number_at(settings, "batchnorm", "batches")
    if images is None:
        return None
    if stage == "train":
        epochs = number_at(settings, "training", "epochs")
        return epochs * images["train"] if epochs else None
    return float(images["validation"] if stage == "evaluate" else sum(images.values()))


def _images(convert: Mapping[str, Any]) -> dict[str, int] | None:
    """The images of each split, by the stage.json of a conversion."""
    counts = {split: count_at(convert, "images", split) for split in ("train", "validation")}
    return (
        {split: count for split, count in counts.items() if count is not None} if None not in counts.values() else None
    )


def _finished_runs(artifacts: Path) -> Iterable[Records]:
    """The records of all runs, each with that of the conversion that it was trained on; and conversions alone."""
    conversions = {
        record["digest"]: record for folder in folders_in(artifacts / "records") if (record := _read(folder))
    }
    for conversion in conversions.values():
        yield {"convert": conversion}
    for run in folders_in(artifacts / "runs"):
        found = {stage: record for stage in SPEED if stage != "convert" and (record := _read(run / stage))}
        digest = found.get("train", {}).get("inputs", {}).get("convert")
        if "train" in found:
            yield found | ({"convert": conversions[digest]} if digest in conversions else {})


def _read(folder: Path) -> dict[str, Any] | None:
    """The stage.json in a stage's folder; None for one that is missing, or cannot be believed."""
    try:
        return read_state(folder / "stage.json")
    except (UserError, RecursionError):
        return None

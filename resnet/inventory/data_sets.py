"""What is known of the data sets in an artifacts folder: their records, from the stage.json of the conversion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from resnet.errors import UserError
from resnet.inventory.stages import StageFacts, count_at, folders_in, newest, read_stage
from resnet.records.shards import SPLITS, read_classes


@dataclass(frozen=True)
class KnownDataSet:
    """A folder of records. A number is None where it is not known, as of a conversion that is not finished."""

    folder: Path
    convert: StageFacts
    train: int | None = None  # images
    validation: int | None = None  # images
    classes: int | None = None
    shards: int | None = None
    size: int | None = None  # bytes of all outputs; of records in place, of the files that they are links to
    rejected: int | None = None  # images
    ignored: int | None = None  # files
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def last_activity(self) -> datetime:
        return newest([self.convert.last_activity])


def read_data_sets(folder: Path) -> list[KnownDataSet]:
    """Every data set in a folder `records`, that with the newest activity first."""
    found = [_read(path) for path in folders_in(folder)]
    return sorted(found, key=lambda known: known.last_activity, reverse=True)


def _read(folder: Path) -> KnownDataSet:
    convert = read_stage(folder)
    if convert.why:
        return KnownDataSet(folder, convert, problems=(convert.why,))
    if not convert.is_finished:
        return KnownDataSet(folder, convert)
    record = convert.record
    sizes = _sizes(record.get("outputs"))
    ignored = record.get("ignored", {})
    classes, problem = _count_classes(folder)
    return KnownDataSet(
        folder,
        convert,
        train=count_at(record, "images", "train"),
        validation=count_at(record, "images", "validation"),
        classes=classes,
        shards=sum(name.startswith(tuple(f"{split}-" for split in SPLITS)) for name in sizes),
        size=sum(sizes.values()),
        rejected=count_at(record, "rejected"),
        ignored=sum(count_at(ignored, kind) or 0 for kind in ignored) if isinstance(ignored, Mapping) else None,
        problems=(problem,) if problem else (),
    )


def _sizes(outputs: object) -> dict[str, int]:
    """The size of each output, in bytes, by its name."""
    return {name: count_at(outputs, name, "size") or 0 for name in outputs} if isinstance(outputs, Mapping) else {}


def _count_classes(folder: Path) -> tuple[int | None, str]:
    """How many classes there are, or else why that is not known."""
    try:
        return len(read_classes(folder)), ""
    except UserError as error:
        return None, str(error)

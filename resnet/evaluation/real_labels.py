"""The error on ImageNet by the ReaL labels, where the recipe names their file (evaluation.real_labels)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from resnet.analysis.real_labels import image_number, read_real_labels, real_label_error
from resnet.datasets.imagenet import shipped_classes
from resnet.errors import UserError
from resnet.evaluation.views import Seen
from resnet.records import example
from resnet.records.shards import RecordReader, ShardedRecords
from resnet.records.tfrecord import CorruptRecord
from resnet.run import Run


class RealLabels:
    """The right labels of ImageNet's validation images: several, or none, of each."""

    def __init__(self, labels: Sequence[Sequence[int]]):
        self._labels = labels

    @classmethod
    def of(cls, run: Run, records: ShardedRecords) -> RealLabels | None:
        """Those of the recipe's file; None if it names none.

        Raises UserError for another file, or where the classes or the first image are not ImageNet's: so a setting that
        cannot be obeyed is found before the evaluation.
        """
        if not (path := run.recipe.evaluation.real_labels):
            return None
        if [identifier for identifier, _ in records.classes] != [identifier for identifier, _ in shipped_classes()]:
            raise UserError(
                f"evaluation.real_labels is for ImageNet's 1,000 classes, and {run.records} has other ones. Leave it "
                "empty: --override evaluation.real_labels="
            )
        if (file := _first_file(records)) is not None:
            image_number(file)
        return cls(read_real_labels(Path(path)))

    def measure(self, seen: Seen) -> dict[str, Any]:
        """The error by these labels, with its 95 % interval, in percent, and how many images have any."""
        answered = np.isfinite(seen.answers.log_likelihoods)
        found = real_label_error(seen.filenames, np.where(answered, seen.answers.likeliest[:, 0], -1), self._labels)
        images, error = found.images, found.top1_error
        print(f"evaluate: ReaL labels: top-1 error {error:.2f} % on the {images:,} images that have any")
        return {"images": images, "top1_error": error, "top1_error_interval": [*found.top1_error_interval]}


def _first_file(records: ShardedRecords) -> str | None:
    """The name of the first image; None if its record is corrupt, which the evaluation will report."""
    shard, offset, length = (int(records.index[0][field]) for field in ("shard", "offset", "length"))
    with closing(RecordReader(records.shards)) as reader:
        try:
            return example.describe(reader.payload(shard, offset, length)).filename
        except (CorruptRecord, example.Malformed, OSError):
            return None

"""Validation images that training has seen, or almost: copies, or encoded again, scaled, brightened, cropped a little.

They are what most often makes an error too good. Conversion notes a perceptual hash of each image. Here each validation
image's hash is compared with that of every training image, and where they are near, the pixels decide.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from resnet.checked_json import read_json
from resnet.errors import UserError
from resnet.images.decoding import Unreadable, decode
from resnet.images.perceptual_hash import KIND, hashes_in
from resnet.images.similarity import similarity, small_picture
from resnet.processes import cores
from resnet.progress import Progress
from resnet.records import example
from resnet.records.shards import RecordReader, Shard, ShardedRecords
from resnet.records.tfrecord import CorruptRecord

LIMIT = 10  # bits by which the hashes of near-duplicates differ at most
NEAREST = 3  # training images that a validation image is compared with
MOST = 20_000  # pairs that are compared in all: a minute of work
SIMILAR = 0.97  # the similarity from which two images are near-duplicates
BLOCK = 256  # validation images between two looks at the progress bar
COLUMNS = (
    "validation_file",
    "training_file",
    "validation_label",
    "training_label",
    "similarity",
    "is_same_label",
)


@dataclass(frozen=True)
class NotKnown:
    """There is no answer, and why."""

    reason: str

    @property
    def sentence(self) -> str:
        return f"Whether validation images are near-duplicates of training images is not known: {self.reason}"


class ErrorWithout(NamedTuple):
    """An error with all images, and without those that have near-duplicates in training, in percent."""

    with_them: float
    without_them: float
    images: int  # that are left

    @property
    def sentence(self) -> str:
        return f"Without them the top-1 error is {self.without_them:.2f} %; with them {self.with_them:.2f} %."


@dataclass(frozen=True)
class NearDuplicates:
    """What was found."""

    pairs: pd.DataFrame  # COLUMNS, the most similar first; labels are identifiers of classes
    rows: np.ndarray  # the validation images that they concern, by their place in the records, rising: int [n]
    validation_images: int  # that there are
    candidates: int  # pairs with near hashes
    compared: int  # of these
    unreadable: int  # pairs that could not be compared, because a record is corrupt
    places: np.ndarray  # of the pairs: validation and training image in the records, int [n, 2]

    @property
    def images(self) -> int:
        """How many validation images have a near-duplicate in training."""
        return len(self.rows)

    @property
    def contradictions(self) -> pd.DataFrame:
        """The pairs whose labels differ: where the two show the same, one label is wrong."""
        return self.pairs[~self.pairs["is_same_label"].astype(bool)]

    def error_without(self, correct: np.ndarray) -> ErrorWithout:
        """The top-1 error with and without them. `correct`: whether each validation image is answered right, bool [n],
        in the order of the records. Without any image left, the error is NaN."""
        kept = np.delete(correct, self.rows)
        with_them, without = (100 * float(1 - some.mean()) if len(some) else np.nan for some in (correct, kept))
        return ErrorWithout(with_them, without, len(kept))

    @property
    def sentence(self) -> str:
        return " ".join(filter(None, (self._found(), self._contradictions(), self._left_out())))

    def _found(self) -> str:
        of = f"of {self.validation_images:,} validation images"
        if not self.images:
            return f"None {of} is a near-duplicate of a training image."
        share = 100 * self.images / self.validation_images
        are = "is a near-duplicate" if self.images == 1 else "are near-duplicates"
        percent = f"{share:.0f}" if share >= 10 else f"{share:.2g}"
        return f"{self.images:,} {of} ({percent} %) {are} of training images."

    def _contradictions(self) -> str:
        count = len(self.contradictions)
        pairs = "1 pair has" if count == 1 else f"{count:,} pairs have"
        return f"{pairs} different labels: where the two show the same, one label is wrong." if count else ""

    def _left_out(self) -> str:
        texts = []
        if self.compared + self.unreadable < self.candidates:
            texts.append(
                f"{self.candidates:,} pairs have similar hashes; the pixels of the nearest {self.compared:,} were "
                "compared."
            )
        if self.unreadable:
            candidates = "1 candidate" if self.unreadable == 1 else f"{self.unreadable:,} candidates"
            texts.append(f"{candidates} could not be compared: their records are corrupt.")
        return " ".join(texts)


def near_duplicates(folder: Path, workers: int = 0) -> NearDuplicates | NotKnown:
    """The near-duplicates between the two splits of a records folder; or why they are not known.

    `workers`: threads that decode; 0: one a core. Raises UserError where there are no records, or a shard is missing.
    """
    validation, training = (ShardedRecords(folder, split) for split in ("validation", "train"))
    try:
        hashes, others = read_hashes(validation), read_hashes(training)
    except _Unhashed as error:
        return NotKnown(str(error))
    candidates, total = _candidates(hashes, others)
    with closing(_Pictures(validation)) as of_validation, closing(_Pictures(training)) as of_training:
        values = _similarities(candidates, of_validation, of_training, workers or cores())
        found = np.flatnonzero(np.nan_to_num(values) >= SIMILAR)
        found = found[np.argsort(-values[found], kind="stable")]
        rows = [_described(of_validation, of_training, candidates[i], float(values[i])) for i in found]
    concerned = np.unique(candidates[found, 0])
    pairs = pd.DataFrame(rows, columns=COLUMNS)
    unreadable = int(np.isnan(values).sum())
    compared = len(candidates) - unreadable
    return NearDuplicates(pairs, concerned, len(validation), total, compared, unreadable, candidates[found])


class _Unhashed(Exception):
    """Records have no hashes; the message says why, and what to do."""


def read_hashes(records: ShardedRecords) -> np.ndarray:
    """The perceptual hashes of records, in their order: uint64 [n]. Raises _Unhashed."""
    return np.concatenate([_hashes_of(Shard(records.folder, path.name)) for path in records.shards])


def _hashes_of(shard: Shard) -> np.ndarray:
    again = f"Delete it and {shard.path}, and run ConvertRecords: it makes that shard again, with the same records."
    try:
        summary = read_json(shard.summary_path, {"records"}, again)
    except UserError as error:
        raise _Unhashed(str(error)) from None
    if summary is None:
        raise _Unhashed(f"{shard.summary_path} is missing. {again.replace('it and ', '')}")
    if shard.path.is_symlink():
        raise _Unhashed("records that are used in place have no hashes. Convert them: records.in_place=false")
    if KIND not in summary.get("perceptual_hashes", {}):
        raise _Unhashed(
            f"the records in {shard.folder} were made by an earlier version, without hashes. To have them, delete that "
            "folder and run ConvertRecords: the records will be the same, so no other stage runs again."
        )
    try:
        hashes = hashes_in(summary["perceptual_hashes"][KIND])
    except (ValueError, TypeError) as error:
        raise _Unhashed(f"{shard.summary_path} is corrupt: {error}. {again}") from None
    if len(hashes) != summary["records"]:
        raise _Unhashed(f"{shard.summary_path} has {len(hashes)} hashes for {summary['records']} records. {again}")
    return hashes


def _candidates(hashes: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, int]:
    """The pairs to compare, int [n, 2] of validation and training images, by the former; and how many are near.

    Each image's nearest come first, so that one with many does not take the place of others.
    """
    from resnet.images.nearest_hashes import NONE, nearest_hashes  # imports numba for half a second

    found = []
    with Progress("comparing hashes", len(hashes), "images", is_preparation=True) as progress:
        for start in range(0, len(hashes), BLOCK):
            found.append(nearest_hashes(hashes[start : start + BLOCK], others, NEAREST, LIMIT))
            progress.advance(len(found[-1][0]))
    places, distances, counts = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    image, rank = np.nonzero(places != NONE)
    chosen = np.sort(np.lexsort((distances[image, rank], rank))[:MOST])
    return np.stack([image, places[image, rank]], axis=1)[chosen], int(counts.sum())


class _Pictures:
    """The images of records, for several threads. Those that cannot be read are None."""

    def __init__(self, records: ShardedRecords):
        self._records, self._reader, self._lock = records, RecordReader(records.shards), threading.Lock()

    def close(self) -> None:
        self._reader.close()

    def payload(self, number: int) -> bytes:
        """Raises CorruptRecord, or UserError for a shard that cannot be read."""
        entry = self._records.index[number]
        try:
            with self._lock:
                return self._reader.payload(int(entry["shard"]), int(entry["offset"]), int(entry["length"]))
        except OSError as error:
            raise UserError(f"cannot read {error.filename}: {error.strerror}") from None

    def small(self, number: int) -> np.ndarray | None:
        """The image as `similarity` compares it."""
        try:
            return small_picture(decode(example.encoded_image(self.payload(number))))
        except (CorruptRecord, Unreadable, example.Malformed):
            return None

    def filename(self, number: int) -> str:
        return example.describe(self.payload(number)).filename

    def label(self, number: int) -> str:
        return self._records.classes[self._records.index["label"][number]][0]


def _similarities(pairs: np.ndarray, validation: _Pictures, training: _Pictures, workers: int) -> np.ndarray:
    """How alike the images of each pair are, float [n]; NaN where one cannot be read."""
    firsts = np.flatnonzero(np.diff(pairs[:, 0], prepend=-1))  # the pairs of one validation image are neighbours

    def compare(of_one: np.ndarray) -> list[float]:
        one = validation.small(int(of_one[0, 0]))
        others = (training.small(int(other)) for other in of_one[:, 1])
        return [np.nan if one is None or other is None else similarity(one, other) for other in others]

    def all_values() -> Iterator[float]:
        with (
            Progress("comparing images", len(pairs), "pairs", is_preparation=True) as progress,
            ThreadPoolExecutor(workers, "comparing") as threads,
        ):
            for values in threads.map(compare, np.split(pairs, firsts[1:]) if len(pairs) else []):
                yield from values
                progress.advance(len(values))

    return np.fromiter(all_values(), np.float64, len(pairs))


def _described(
    validation: _Pictures, training: _Pictures, pair: np.ndarray, value: float
) -> tuple[str, str, str, str, float, bool]:
    """A row of the table."""
    one, other = pair.tolist()
    labels = validation.label(one), training.label(other)
    return validation.filename(one), training.filename(other), *labels, value, labels[0] == labels[1]

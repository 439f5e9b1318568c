"""TFRecord files made by TensorFlow's ImageNet scripts, by TensorFlow Datasets, or by this project.

Files are recognised by name: FOLDER/train-00000-of-01024, FOLDER/imagenet2012-validation.tfrecord-00000-of-00064.
Each file is read once, to check every checksum and to find the offsets and labels of its records.

TensorFlow's scripts count classes from 1 and keep 0 for a background class without images; others count from 0. If some
label is 0, labels count from 0. If none is, and the labels reach the number of classes or have no gap, they count from
1, and a line of output says so. Anything else is ambiguous, and you must set `dataset.first_label`.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from resnet import settings
from resnet.datasets.source import (
    Dataset,
    Fingerprint,
    IndexedFile,
    MissingData,
    Split,
    required_folder,
    split_off_validation,
    stamp_of_part,
)
from resnet.errors import UserError
from resnet.processes import cores
from resnet.progress import Progress
from resnet.records import example, tfrecord

NAME = re.compile(r"(?:.*[-_.])?(?P<split>train|val|valid|validation)(?:[-_.].*)?-(?P<number>\d{5})-of-(?P<of>\d{5})")


@dataclass(frozen=True)
class RecordImage:
    """The image of a record."""

    path: Path
    offset: int  # bytes
    size: int  # bytes, with the framing

    @property
    def filename(self) -> str:
        return f"{self.path.name}@{self.offset}"

    def read(self) -> bytes:
        return bytes(example.encoded_image(self._payload()))

    def name(self) -> str:
        """The filename in the record, or else the place of the record."""
        return example.describe(self._payload()).filename or self.filename

    def stamp(self) -> str:
        return stamp_of_part(self.path, self.offset, self.size)

    def length(self) -> int:
        return self.size

    def _payload(self) -> bytes:
        return _payload(self.path, self.offset, self.size)


@lru_cache(maxsize=1)  # callers use `read` and `name` of the same image in turn
def _payload(path: Path, offset: int, size: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(offset)
        try:
            return tfrecord.unframe(file.read(size))
        except tfrecord.CorruptRecord as error:
            raise UserError(f"{path}: the record at byte {offset} is corrupt: {error}") from None


@dataclass
class _Scanned:
    """What reading a whole file found out about its n records."""

    path: Path
    offsets: np.ndarray  # int64 [n], bytes
    labels: np.ndarray  # int64 [n], as in the file: counted from 0 or 1
    size: int  # bytes
    sha256: str
    names: dict[int, set[tuple[str, str]]]  # by label: synset and text of its class


class TFRecords:
    """The TFRecord files of a folder. Raises MissingData if it has none, UserError if some are missing."""

    def __init__(self, dataset: settings.Dataset, data: Path | None, downloads: Path):
        self._dataset, self._root = dataset, required_folder(data)
        self._files: dict[str, list[Path]] = {"train": [], "validation": []}
        for path in sorted(self._root.iterdir()):
            if found := NAME.fullmatch(path.name):
                self._files["train" if found["split"] == "train" else "validation"].append(path)
        if not self._files["train"]:
            raise MissingData(f"{self._root} has no TFRecord files with names like train-00000-of-01024")
        for paths in self._files.values():
            _check_complete(paths)

    def fingerprint(self) -> Fingerprint:
        """Of the files' names, sizes and times: reading them would take too long."""
        return Fingerprint.of(
            (f"{path.name}\0{path.stat().st_size}\n", path.stat().st_mtime_ns)
            for paths in self._files.values()
            for path in paths
        )

    def load(self) -> Dataset:
        scanned = {split: _scan_all(paths) for split, paths in self._files.items()}
        everything = [file for files in scanned.values() for file in files]
        names = _names(everything)
        first, count = self._first_label(everything, names)
        classes = _classes(names, first, count, self._dataset.class_names, self._root)
        train = _split(scanned["train"], first)
        if scanned["validation"]:
            validation = _split(scanned["validation"], first)
        else:
            train, validation = split_off_validation(train, self._dataset.validation_fraction, self._dataset.split_seed)
        files = {split: [_indexed(file, first) for file in found] for split, found in scanned.items()}
        return Dataset(classes, train, validation, files)

    def _first_label(self, files: list[_Scanned], names: dict[int, tuple[str, str]]) -> tuple[int, int]:
        """The label of the first class, and the number of classes. Raises UserError if the labels are ambiguous."""
        labels = np.unique(np.concatenate([file.labels for file in files]))
        low, high, declared = int(labels[0]), int(labels[-1]), self._dataset.first_label
        known = self._dataset.classes or len(self._dataset.class_names)
        if low < 0:
            raise UserError(
                f"{self._root}: a record has the label {low}, but labels count from 0 or 1. Make the records again."
            )
        synsets = [names[label][0] for label in sorted(names) if names[label][0]]
        if synsets and (synsets != sorted(synsets) or len(set(synsets)) < len(synsets)):
            raise UserError(
                f"{self._root}: the labels do not follow the sorted order of their synsets. "
                "Make the records again, with labels in that order."
            )
        if declared >= 0:
            first = declared
        elif low == 0:
            first = 0
        elif known == high or (not known and len(labels) == high):  # a class 0 would have no image
            first = 1
            print(f"convert: labels go from {low} to {high}, so they are taken to count from 1")
        else:
            raise UserError(
                f"{self._root}: labels go from {low} to {high}, so the first class may be 0 or 1. "
                "Declare it: --override '[\"dataset.first_label=1\"]', or 0."
            )
        if low < first or (known and high - first >= known):
            conflict = f"dataset.first_label is {declared}" if declared >= 0 else f"the first class is {first}"
            classes = f", and the recipe has {known} classes" if known else ""
            raise UserError(
                f"{self._root}: labels go from {low} to {high}, but {conflict}{classes}. Correct the recipe."
            )
        return first, known or high - first + 1


def _check_complete(paths: Sequence[Path]) -> None:
    """Raise UserError if the filenames show that files are missing, or belong to two sets."""
    if not paths:
        return
    matches = [NAME.fullmatch(path.name) for path in paths]
    numbers = sorted(int(match["number"]) for match in matches if match)
    totals = {int(match["of"]) for match in matches if match}
    if len(totals) > 1 or len(set(numbers)) < len(numbers) or numbers[-1] >= max(totals):
        raise UserError(
            f"{paths[0].parent}: the files like {paths[0].name} are of more than one set. "
            "Keep each set in a folder of its own."
        )
    if missing := sorted(set(range(*totals)) - set(numbers)):
        few = ", ".join(f"{number:05d}" for number in missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise UserError(
            f"{paths[0].parent}: of the {max(totals)} files like {paths[0].name}, these are missing: {few}. Add them."
        )


def _scan_all(paths: Sequence[Path]) -> list[_Scanned]:
    if not paths:
        return []
    with (
        ThreadPoolExecutor(cores()) as pool,
        Progress(f"reading {paths[0].name.partition('-of-')[0][:-6]}", len(paths), "files") as progress,
    ):
        scanned = []
        for file in pool.map(_scan, paths):
            scanned.append(file)
            progress.advance()
        return scanned


def _scan(path: Path) -> _Scanned:
    offsets, labels, digest, end = array("q"), array("q"), hashlib.sha256(), 0
    names: dict[int, set[tuple[str, str]]] = {}
    try:
        with open(path, "rb") as file:
            for offset, payload in tfrecord.records(file):
                described = example.describe(payload)
                offsets.append(offset)
                labels.append(described.label)
                if described.synset or described.text:
                    names.setdefault(described.label, set()).add((described.synset, described.text))
                digest.update(tfrecord.frame(payload))
                end = file.tell()
    except (tfrecord.CorruptRecord, example.Malformed) as error:
        raise UserError(f"{path}: {error}. Replace the file.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if not offsets:
        raise UserError(f"{path} has no records: replace the file")
    return _Scanned(path, np.array(offsets, np.int64), np.array(labels, np.int64), end, digest.hexdigest(), names)


def _names(files: Iterable[_Scanned]) -> dict[int, tuple[str, str]]:
    """Synset and text of each label. Raises UserError if records disagree."""
    names: dict[int, tuple[str, str]] = {}
    for file in files:
        for label, found in file.names.items():
            for name in found:
                if names.setdefault(label, name) != name:
                    here, elsewhere = (" ".join(filter(None, pair)) for pair in (name, names[label]))
                    raise UserError(
                        f"{file.path}: label {label} is {here!r}, but elsewhere {elsewhere!r}. "
                        "Put files of one data set only into the folder."
                    )
    return names


def _classes(
    names: dict[int, tuple[str, str]], first: int, count: int, declared: Sequence[str], root: Path
) -> list[tuple[str, str]]:
    """Identifier and name of each class: from the records, else from the recipe, else its number."""
    if declared and len(declared) != count:
        raise UserError(f"{root}: dataset.class_names has {len(declared)} names, but there are {count} classes")
    classes = []
    for number in range(count):
        synset, text = names.get(number + first, ("", ""))
        identifier = synset or (declared[number] if declared else str(number))
        classes.append((identifier, text or identifier))
    return classes


def _split(files: list[_Scanned], first: int) -> Split:
    labels = np.concatenate([file.labels - first for file in files]).astype(np.int32)
    bounds = np.cumsum([0, *(len(file.labels) for file in files)])
    lengths = [_lengths(file) for file in files]

    def image(i: int) -> RecordImage:
        number = int(np.searchsorted(bounds, i, "right")) - 1
        file, record = files[number], i - int(bounds[number])
        return RecordImage(file.path, int(file.offsets[record]), int(lengths[number][record]))

    return Split(labels, image)


def _lengths(file: _Scanned) -> np.ndarray:
    return np.diff(file.offsets, append=file.size)


def _indexed(file: _Scanned, first: int) -> IndexedFile:
    return IndexedFile(file.path, file.offsets, _lengths(file), (file.labels - first).astype(np.int32), file.sha256)

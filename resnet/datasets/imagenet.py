"""ImageNet (ILSVRC 2012): its archives, read without unpacking them, or folders.

    ROOT/ILSVRC2012_img_train.tar          a tar of 1,000 tars, one per class    or  ROOT/train/n01440764/*
    ROOT/ILSVRC2012_img_val.tar            50,000 files without a class          or  ROOT/val/*, ROOT/val/n01440764/*
    ROOT/ILSVRC2012_devkit_t12.tar.gz      the development kit                   or  ROOT/ILSVRC2012_devkit_t12/

A label is a position among the sorted WordNet ids. The kit's ground truth gives ILSVRC2012 ids instead; the kit's
meta.mat maps those to WordNet ids. If val has class folders, you need no kit.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from resnet import settings
from resnet.datasets.folder import read_split
from resnet.datasets.listing import add_ignored, class_names, list_images
from resnet.datasets.source import (
    Dataset,
    FileImage,
    FileNames,
    Fingerprint,
    Ignored,
    MissingData,
    Split,
    required_folder,
)
from resnet.errors import UserError

TRAIN_TAR = "ILSVRC2012_img_train.tar"
VALIDATION_TAR = "ILSVRC2012_img_val.tar"
KIT = "ILSVRC2012_devkit_t12"
KIT_FILES = ("meta.mat", "ILSVRC2012_validation_ground_truth.txt")
SHIPPED_CLASSES = Path(__file__).with_name("imagenet_classes.txt")


class Member(NamedTuple):
    """A file inside a tar, and where its bytes are."""

    name: str
    offset: int  # from the beginning of the outermost file
    size: int


class DevelopmentKit(NamedTuple):
    """What the development kit says about classes and validation images."""

    words: dict[str, str]  # WordNet id to the class's names
    wordnet_ids: dict[int, str]  # ILSVRC2012 id to WordNet id
    ground_truth: list[int]  # the ILSVRC2012 id of each validation image, sorted by filename


class ImageNet:
    """ImageNet's images. Raises MissingData if training or validation images are missing."""

    def __init__(self, dataset: settings.Dataset, data: Path | None, downloads: Path):
        self._root = root = required_folder(data)
        for tar, folder in ((TRAIN_TAR, "train"), (VALIDATION_TAR, "val")):
            if not (root / tar).is_file() and not (root / folder).is_dir():
                raise MissingData(f"{root} has neither {tar} nor a folder {folder}: add one of them")

    def fingerprint(self) -> Fingerprint:
        """Of the kit's content and the archives' sizes; where there is no archive, of the class folders' names.

        Listing 1.3 million files would take too long, so a stamp has the times of the folders.
        """
        return Fingerprint.of(self._entries())

    def _entries(self) -> Iterator[tuple[str, int]]:
        yield f"{KIT} {_kit_digest(self._root)}\n", 0
        for tar, name in ((TRAIN_TAR, "train"), (VALIDATION_TAR, "val")):
            archive, folder = self._root / tar, self._root / name
            if archive.is_file():
                status = archive.stat()
                yield f"{tar} {status.st_size}\n", status.st_mtime_ns
            else:
                yield f"{name}\n", folder.stat().st_mtime_ns
                classes = class_names(folder)
                for class_name in classes:
                    yield f"{name}/{class_name}\n", (folder / class_name).stat().st_mtime_ns
                for image in list_images(folder).images if not classes else ():  # the flat val
                    yield f"{name}/{image}\n", 0

    def load(self) -> Dataset:
        kit = _read_kit(self._root)
        words = kit.words if kit else {}
        ignored: Ignored = {}
        names, train = self._train(ignored)
        validation = self._validation(names, kit, ignored)
        return Dataset([(name, words.get(name, name)) for name in names], train, validation, ignored=ignored)

    def _train(self, ignored: Ignored) -> tuple[list[str], Split]:
        tar = self._root / TRAIN_TAR
        if not tar.is_file():
            folder = self._root / "train"
            names = class_names(folder)
            return names, read_split(folder, names, self._root, ignored)
        files, places, counts = FileNames(), array("q"), []
        with open(tar, "rb") as file:
            inner = sorted(_members(file, 0, tar.stat().st_size, tar))
            if not inner:
                raise UserError(f"{tar} is empty: download it again")
            names = [Path(member.name).stem for member in inner]
            for member in inner:
                found = list(_members(file, member.offset, member.size, tar))
                if not found:
                    raise UserError(f"{tar}: the archive {member.name} inside it is empty: download it again")
                _append(found, files, places)
                counts.append(len(found))
        return names, _split(tar, files, places, np.repeat(np.arange(len(names)), counts))

    def _validation(self, names: list[str], kit: DevelopmentKit | None, ignored: Ignored) -> Split:
        tar, folder = self._root / VALIDATION_TAR, self._root / "val"
        if not tar.is_file() and (found := class_names(folder)):
            if unmatched := set(found) ^ set(names):
                raise UserError(
                    f"{folder} and the training images need the same classes; "
                    f"in one of them only: {', '.join(sorted(unmatched)[:10])}"
                )
            return read_split(folder, names, self._root, ignored)
        if kit is None:
            raise UserError(
                f"the classes of the validation images in {tar if tar.is_file() else folder} are listed in the "
                f"development kit: put {KIT}.tar.gz into {self._root}"
            )
        label_of = {name: label for label, name in enumerate(names)}
        if missing := {kit.wordnet_ids[number] for number in kit.ground_truth} - set(label_of):
            raise UserError(
                f"{self._root}: these classes have validation images but no training images: "
                f"{', '.join(sorted(missing)[:10])}. Add their training images."
            )
        labels = [label_of[kit.wordnet_ids[number]] for number in kit.ground_truth]
        if tar.is_file():
            with open(tar, "rb") as file:
                members = sorted(_members(file, 0, tar.stat().st_size, tar), key=lambda member: Path(member.name).name)
            _check_ground_truth(tar, len(members), kit)
            files, places = FileNames(), array("q")
            _append(members, files, places)
            return _split(tar, files, places, np.array(labels))
        images, others = list_images(folder)
        add_ignored(ignored, others, folder.name)
        _check_ground_truth(folder, len(images), kit)
        return Split(np.array(labels, np.int32), lambda i: FileImage(f"val/{images[i]}", folder / images[i]))


def shipped_classes() -> list[tuple[str, str]]:
    """WordNet id and names of the 1,000 classes, in the order of the labels, for networks that come without images.

    The ids are those of ILSVRC 2012, the names are WordNet's lemmas, written as in the kit's meta.mat.
    """
    lines = SHIPPED_CLASSES.read_text(encoding="utf-8").splitlines()
    return [(identifier, words) for identifier, _, words in (line.partition("\t") for line in lines)]


def _check_ground_truth(place: Path, images: int, kit: DevelopmentKit) -> None:
    if images != len(kit.ground_truth):
        raise UserError(
            f"{place} has {images:,} images, but the development kit's ground truth lists {len(kit.ground_truth):,}: "
            "one of the two is incomplete, or from another year"
        )


def _append(members: Iterable[Member], files: FileNames, places: array[int]) -> None:
    """Append each member's name to `files`, and its offset and size to `places`."""
    for member in members:
        files.extend([Path(member.name).name])
        places.extend((member.offset, member.size))


def _split(tar: Path, files: FileNames, places: array[int], labels: np.ndarray) -> Split:
    return Split(labels.astype(np.int32), lambda i: FileImage(files[i], tar, places[2 * i], places[2 * i + 1]))


def _members(file: io.BufferedIOBase, start: int, size: int, tar: Path) -> Iterator[Member]:
    """The regular files of the tar that starts at byte `start` of `file`, found by reading its headers only."""
    window = _Window(file, start, size)
    try:
        with tarfile.open(fileobj=window, mode="r:") as archive:  # type: ignore[call-overload]
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every member: for a million files that wastes memory
                if member.isfile():
                    if member.offset_data + member.size > size:
                        raise UserError(f"{tar} is truncated inside {member.name}: download it again")
                    yield Member(member.name, start + member.offset_data, member.size)
            window.seek(archive.offset)
            if (
                window.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE
            ):  # tarfile ends at a bad header as if at the end
                raise UserError(f"{tar} is corrupt or truncated at byte {start + archive.offset:,}: download it again")
    except tarfile.TarError as error:
        raise UserError(f"{tar} is not a complete tar archive ({error}): download it again") from None


class _Window(io.RawIOBase):
    """`size` bytes of a file from `start` on, as a file of their own."""

    def __init__(self, file: io.BufferedIOBase, start: int, size: int):
        self._file, self._start, self._size, self._position = file, start, size, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        left = max(self._size - self._position, 0)
        self._file.seek(self._start + self._position)
        data = self._file.read(left if size < 0 else min(size, left))
        self._position += len(data)
        return data


def _kit_digest(root: Path) -> str:
    """A digest of what `_read_kit` reads, unchecked; empty if there is no kit."""
    files = [root / KIT / "data" / name for name in KIT_FILES] if (root / KIT).is_dir() else [root / f"{KIT}.tar.gz"]
    try:
        return " ".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file())
    except OSError as error:
        raise UserError(f"the development kit in {root} cannot be read: {error}. Download it again.") from None


def _read_kit(root: Path) -> DevelopmentKit | None:
    """The development kit, from its folder or archive; None if there is neither."""
    meta, truth = (f"{KIT}/data/{name}" for name in KIT_FILES)
    archive = root / f"{KIT}.tar.gz"
    try:
        if (root / KIT).is_dir():
            files = {name: (root / name).read_bytes() for name in (meta, truth)}
        elif archive.is_file():
            # Decompressing all of it checks gzip's checksum. Otherwise a changed label could go unnoticed.
            with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive.read_bytes()))) as tar:
                files = {name: tar.extractfile(name).read() for name in (meta, truth)}  # type: ignore[union-attr]
        else:
            return None
        synsets = loadmat(io.BytesIO(files[meta]), squeeze_me=True)["synsets"]
        wordnet_ids = {int(s["ILSVRC2012_ID"]): str(s["WNID"]) for s in synsets if int(s["num_children"]) == 0}
        words = {str(synset["WNID"]): str(synset["words"]) for synset in synsets}
        truth_ids = [int(line) for line in files[truth].split()]
    except (OSError, EOFError, zlib.error, tarfile.TarError, MatReadError) as error:
        raise UserError(f"the development kit in {root} cannot be read: {error}. Download it again.") from None
    except (KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise UserError(
            f"the development kit in {root} is not the official one: {error!r}. Download it again."
        ) from None
    if any(not re.fullmatch(r"n\d{8}", name) for name in wordnet_ids.values()):
        raise UserError(
            f"the development kit in {root} lists a class in meta.mat that is not a WordNet id. Download it again."
        )
    if unknown := sorted(set(truth_ids) - set(wordnet_ids)):
        raise UserError(
            f"the development kit in {root} has unknown ids, such as {unknown[0]}, in its ground truth. "
            "Download it again."
        )
    return DevelopmentKit(words, wordnet_ids, truth_ids)

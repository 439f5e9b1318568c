"""The idx files of MNIST and its relatives: two of images and two of labels, gzipped or not.

With --data, that folder must have them. Otherwise they are looked for where Debian's package of Fashion-MNIST installs
them, then among earlier downloads. Fashion-MNIST is downloaded if it is in neither; its addresses and checksums are
from its README (Xiao et al. 2017). Format: http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import urllib.request
import zlib
from http.client import HTTPException
from pathlib import Path

import numpy as np

from resnet import settings
from resnet.datasets.source import Dataset, Fingerprint, MissingData, PixelImage, Split
from resnet.errors import UserError
from resnet.files import atomic, make_folder

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
DEBIAN = Path("/usr/share/datasets")
DOWNLOADS = {"fashion-mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"}
MD5 = {
    "fashion-mnist": {
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    }
}


class IdxFiles:
    """A data set of four idx files. Raises MissingData if they are neither on disk nor downloadable."""

    def __init__(self, dataset: settings.Dataset, data: Path | None, downloads: Path):
        self._dataset = dataset
        self._downloads = downloads / (dataset.name or "idx")
        places = [data] if data else [DEBIAN / dataset.name, self._downloads] if dataset.name else []
        self._folder = next((place for place in places if _holds_all(place)), None)
        if self._folder is None and (data or dataset.name not in DOWNLOADS):
            searched = f" in {' or '.join(str(place) for place in places)}" if places else ""
            raise MissingData(f"cannot find {', '.join(FILES)} (or .gz){searched}. Say where they are with --data.")

    def fingerprint(self) -> Fingerprint | None:
        """Hashes the uncompressed files; None before they are downloaded."""
        if self._folder is None:
            return None
        digest = hashlib.sha256()
        for name in FILES:
            digest.update(hashlib.sha256(_content(self._folder, name)).digest())
        return Fingerprint(listing=digest.hexdigest(), stamp=digest.hexdigest())

    def load(self) -> Dataset:
        """Read the files, after downloading them if need be. Raises UserError if one is missing or invalid."""
        folder = self._folder or self._download()
        train, validation = _split(folder, *FILES[:2], "train"), _split(folder, *FILES[2:], "test")
        count = 1 + max(int(train.labels.max()), int(validation.labels.max()))
        names = self._dataset.class_names or [str(number) for number in range(count)]
        if len(names) < count:
            raise UserError(
                f"dataset.class_names has {len(names)} names, but {folder} has {count} classes: name every class"
            )
        return Dataset([(str(number), name) for number, name in enumerate(names)], train, validation)

    def _download(self) -> Path:
        make_folder(self._downloads)
        for name in FILES:
            address = f"{DOWNLOADS[self._dataset.name]}/{name}.gz"
            try:
                with urllib.request.urlopen(address, timeout=60) as answer:
                    content = answer.read()
            except (OSError, HTTPException) as error:
                raise UserError(
                    f"{address} cannot be downloaded ({error}). Try again, or get the four files another way "
                    "and give their folder with --data."
                ) from None
            if hashlib.md5(content, usedforsecurity=False).hexdigest() != MD5[self._dataset.name][name]:
                raise UserError(
                    f"{address}: the download has the wrong checksum. Try again, or get the four files another way "
                    "and give their folder with --data."
                )
            with atomic(self._downloads / f"{name}.gz") as file:
                file.write(content)
        return self._downloads


def _holds_all(folder: Path) -> bool:
    return all((folder / name).exists() or (folder / f"{name}.gz").exists() for name in FILES)


def _content(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        return path.read_bytes() if path.exists() else gzip.decompress((folder / f"{name}.gz").read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{folder / name} cannot be read: {error}. Replace the file.") from None


def _array(folder: Path, name: str, dimensions: int) -> np.ndarray:
    """A file's content, uint8. The header is two zero bytes, 8 for unsigned bytes, the dimensions, and their sizes."""
    content = _content(folder, name)
    header = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) < header:
        raise UserError(f"{folder / name} is not an idx file of unsigned bytes in {dimensions} dimensions: replace it")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    if math.prod(shape) != len(content) - header:
        found, declared = len(content) - header, math.prod(shape)
        raise UserError(
            f"{folder / name} is truncated or corrupt: {found:,} bytes follow a header that declares {declared:,}. "
            "Replace the file."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _split(folder: Path, images_name: str, labels_name: str, prefix: str) -> Split:
    pixels, labels = _array(folder, images_name, 3), _array(folder, labels_name, 1)
    if len(pixels) != len(labels) or not len(labels):
        raise UserError(
            f"{folder}: {images_name} has {len(pixels):,} images, but {labels_name} has {len(labels):,} labels. "
            "Get both from the same data set, with at least one image."
        )
    return Split(labels.astype(np.int32), lambda i: PixelImage(f"{prefix}-{i:05d}.png", pixels[i]))

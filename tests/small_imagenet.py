"""A small ImageNet: three classes whose order in meta.mat is not that of their WordNet ids."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable

import numpy as np
from scipy.io import savemat

TRAIN_TAR = "ILSVRC2012_img_train.tar"
VALIDATION_TAR = "ILSVRC2012_img_val.tar"
KIT = "ILSVRC2012_devkit_t12"

WORDS = {"n03000003": "tench, Tinca tinca", "n01000001": "goldfish", "n02000002": "Siamese cat, Siamese"}
IDS = dict(enumerate(WORDS, start=1))  # as in meta.mat: not sorted
TRUTH = [2, 1, 1, 3, 2, 2, 3]
TRAIN = {
    f"{wordnet_id}_{number * 7}.JPEG": f"{wordnet_id} {number}".encode() * (100 * number)
    for wordnet_id in WORDS
    for number in range(4)  # the first of each class is an empty file
}
VALIDATION = {
    f"ILSVRC2012_val_{number:08d}.JPEG": f"{IDS[truth]}, the {number}th".encode() * 40
    for number, truth in enumerate(TRUTH, start=1)
}


def tar(contents: Iterable[tuple[str, bytes]], mode: str = "w", **options) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode=mode, **options) as file:
        for name, content in contents:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def train_tar(**options) -> bytes:
    inner = {
        wordnet_id: tar(((name, content) for name, content in TRAIN.items() if name.startswith(wordnet_id)), **options)
        for wordnet_id in WORDS
    }
    return tar(((f"{wordnet_id}.tar", content) for wordnet_id, content in inner.items()), **options)


def validation_tar() -> bytes:
    return tar(reversed(VALIDATION.items()))


def meta_mat(compressed: bool = False) -> bytes:
    """Like the real one: first the classes' ids, then those of groups of classes, which have no images."""
    fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height")
    synsets = np.zeros((5, 1), [(field, object) for field in fields])
    for number, wordnet_id in IDS.items():
        synsets[number - 1, 0] = (number, wordnet_id, WORDS[wordnet_id], "a gloss", 0, np.zeros((1, 0)), 0)
    synsets[3, 0] = (4, "n00000004", "fish", "a gloss", 2, [1, 2], 1)
    synsets[4, 0] = (5, "n00000005", "animal", "a gloss", 2, [3, 4], 2)
    file = io.BytesIO()
    savemat(file, {"synsets": synsets}, do_compression=compressed)
    return file.getvalue()


def kit_files(meta: bytes | None = None, truth: Iterable[object] = TRUTH) -> dict[str, bytes]:
    return {
        f"{KIT}/readme.txt": b"about the kit",
        f"{KIT}/data/meta.mat": meta_mat() if meta is None else meta,
        f"{KIT}/data/ILSVRC2012_validation_ground_truth.txt": "".join(f"{number}\n" for number in truth).encode(),
    }


def kit_tar(**options) -> bytes:
    return tar(kit_files(**options).items(), "w:gz")

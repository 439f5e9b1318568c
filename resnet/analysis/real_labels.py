"""ImageNet's validation images with the labels of Beyer et al. 2020, "Are we done with ImageNet?": ReaL.

An image may have several right labels there, or none; those without any are left out, as in the paper.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binomtest

from resnet.errors import UserError

IMAGES, CLASSES = 50_000, 1_000
REMEDY = (
    "Get real.json from https://github.com/google-research/reassessed-imagenet, and set evaluation.real_labels to its "
    "path."
)


class RealLabelError(NamedTuple):
    """The error by the ReaL labels, with its 95 % interval (Wilson 1927), in percent."""

    images: int  # that have a label
    top1_error: float
    top1_error_interval: tuple[float, float]


def read_real_labels(path: Path) -> list[list[int]]:
    """The right labels of image i + 1, from 0, in the order of the sorted WordNet ids. Raises UserError."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. {REMEDY}") from None
    except (ValueError, RecursionError) as error:
        raise _not_real(path, f"it is not JSON ({error})") from None
    if not isinstance(content, list) or len(content) != IMAGES:
        found = f"a list of {len(content):,}" if isinstance(content, list) else f"a {type(content).__name__}"
        raise _not_real(path, f"it holds {found}, not a list of {IMAGES:,}")
    for number, labels in enumerate(content, 1):
        if not isinstance(labels, list) or not all(_is_label(label) for label in labels):
            raise _not_real(path, f"entry {number:,} is {str(labels)[:100]}, not a list of numbers from 0 to 999")
    return content


def real_label_error(
    files: Sequence[str], predicted: np.ndarray, real_labels: Sequence[Sequence[int]]
) -> RealLabelError:
    """The error of first answers [n], by each image's labels, which its file name finds: ILSVRC2012_val_00000001.JPEG.

    An answer that is none (the image is unanswered) is to be -1. Raises UserError for any other file name.
    """
    labels = [real_labels[image_number(file) - 1] for file in files]
    judged = [(answer, right) for answer, right in zip(predicted.tolist(), labels, strict=True) if right]
    if not judged:
        raise UserError("evaluation.real_labels: none of the validation images has a label there.")
    wrong = sum(answer not in right for answer, right in judged)
    interval = binomtest(wrong, len(judged)).proportion_ci(0.95, method="wilson")
    ends = (100 * float(interval.low), 100 * float(interval.high))
    return RealLabelError(len(judged), 100 * wrong / len(judged), ends)


def image_number(file: str) -> int:
    """The number in the name of an ImageNet validation image, from 1. Raises UserError for any other name."""
    match = re.search(r"ILSVRC2012_val_(\d{8})\.JPEG\Z", file, re.ASCII)
    if not match or not 1 <= int(match[1]) <= IMAGES:
        raise UserError(
            f"evaluation.real_labels is for ImageNet's validation images, ILSVRC2012_val_00000001.JPEG and so on, "
            f"and not for {file}. Leave it empty: --override evaluation.real_labels="
        )
    return int(match[1])


def _is_label(value: Any) -> bool:
    return type(value) is int and 0 <= value < CLASSES


def _not_real(path: Path, why: str) -> UserError:
    return UserError(f"{path} is not the file of ReaL labels: {why}. {REMEDY}")

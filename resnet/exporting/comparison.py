"""An exported network against Evaluate's predictions, on every validation image.

An exported network computes in float32 on the CPU. What Evaluate computed in decides how far the two may differ:
bfloat16 keeps 8 bits of a number, float16 and TensorFloat-32 keep 11. Each tolerance is ten times or more what was
measured on the digits: 1e-6 in float32 (predictions.csv is rounded to 6 decimals), 7e-4 with operands rounded as in
TensorFloat-32, 1e-2 in bfloat16. Another image size, order of channels or of classes is far beyond all three.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import softmax

from resnet.errors import UserError
from resnet.exporting.interface import Answer, Answerer
from resnet.loader.batches import validation_batches
from resnet.progress import Progress
from resnet.records.shards import ShardedRecords
from resnet.run import Run

FLOAT32, TENSORFLOAT32, BFLOAT16 = 1e-3, 1e-2, 1e-1  # probability
AT_ONCE = 32  # images: enough for every core, and little memory for the activations
NAMED = 3  # images in a message


class Comparison(NamedTuple):
    """How an exported network answered the images that Evaluate had answered."""

    images: int
    tolerance: float  # that was kept
    greatest_difference: float  # between two probabilities of a class of an image
    other_class_first: int  # images whose likeliest classes are a tie within the tolerance, and changed places
    top1_error: float  # of the exported network, percent


class Evaluated(NamedTuple):
    """What predictions.csv says, a row an image."""

    filenames: list[str]
    likeliest: np.ndarray  # classes counted from 0, likeliest first, int [n, places]
    probabilities: np.ndarray  # of these, float64 [n, places]

    @classmethod
    def of(cls, table: pd.DataFrame, identifiers: Sequence[str]) -> Evaluated:
        number = {identifier: n for n, identifier in enumerate(identifiers)}
        places = range(1, table.shape[1] // 2)  # after two columns, two for each place
        likeliest = np.stack([table[f"class{place}"].map(number).to_numpy(np.int64) for place in places], 1)
        probabilities = np.stack([table[f"probability{place}"].to_numpy() for place in places], 1)
        return cls(table["file"].tolist(), likeliest, probabilities)


def tolerance(precision: str, devices: Collection[str]) -> float:
    """How far probabilities may differ from those that were computed with `precision` on `devices`."""
    if precision == "bfloat16":
        return BFLOAT16
    if precision == "float32" and all(device.startswith("CPU") for device in devices):
        return FLOAT32
    return TENSORFLOAT32  # also of float32 on GPUs, where earlier versions used it


def compare(title: str, answer: Answerer, run: Run, evaluated: Evaluated, tolerance: float) -> Comparison:
    """Compare on all validation images. Raises UserError, which names the first images that differ."""
    records = ShardedRecords(run.records, "validation")
    differences, other_first, right = np.empty(len(records)), np.empty(len(records), bool), 0
    with (
        validation_batches(run.recipe, records, run.machine.workers, filenames=True) as loader,
        Progress(f"comparing {title}", len(records), "images") as progress,
    ):
        done = 0
        for batch in loader:
            rows = slice(done, done + len(batch.labels))
            _require_same_images(run, evaluated.filenames[rows], batch.filenames)
            answers = _in_pieces(answer, batch.images)
            differences[rows] = _differences(answers, evaluated.likeliest[rows], evaluated.probabilities[rows])
            other_first[rows] = answers.probabilities.argmax(1) != evaluated.likeliest[rows, 0]
            right += int((answers.probabilities.argmax(1) == batch.labels).sum())
            done = rows.stop
            progress.advance(len(batch.labels))
    _require_same_images(run, evaluated.filenames[done:], [])
    _require_agreement(title, run, evaluated.filenames, differences, tolerance)
    error = 100 * (1 - right / len(records))
    return Comparison(len(records), tolerance, float(differences.max()), int(other_first.sum()), error)


def _in_pieces(answer: Answerer, images: np.ndarray) -> Answer:
    pieces = [answer(images[start : start + AT_ONCE]) for start in range(0, len(images), AT_ONCE)]
    return Answer(*(np.concatenate(parts) for parts in zip(*pieces, strict=True)))


def _differences(answers: Answer, likeliest: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The greatest difference of each image, float64 [n]: of the probabilities, and of those that the logits mean.

    The class that an answer has first counts too: where it is another, by how much it is ahead. Numbers on one side and
    NaN on the other differ by infinity.
    """
    found = []
    for given in (answers.probabilities.astype(np.float64), softmax(answers.logits.astype(np.float64), 1)):
        listed = np.take_along_axis(given, likeliest, 1)
        apart = np.where(np.isnan(listed) & np.isnan(expected), 0.0, np.abs(listed - expected)).max(1)
        ahead = given.max(1) - listed[:, 0]
        found += [apart, np.where(np.isnan(expected[:, 0]), 0.0, ahead)]
    return np.nan_to_num(np.max(found, 0), nan=np.inf)


def _require_same_images(run: Run, evaluated: list[str], read: list[str]) -> None:
    if evaluated != read:
        path = run.stage_folder("evaluate")
        raise UserError(
            f"the predictions in {path} are of other images than {run.records}. Delete {path}, and evaluate again: "
            f"{run.luigi_command('Evaluate')}"
        )


def _require_agreement(
    title: str, run: Run, filenames: Sequence[str], differences: np.ndarray, tolerance: float
) -> None:
    (wrong,) = np.nonzero(differences > tolerance)
    if len(wrong):
        named = "".join(f"\n  {filenames[row]!r}: {differences[row]:.6f}" for row in wrong[:NAMED])
        raise UserError(
            f"the exported network ({title}) answers {len(wrong):,} of {len(differences):,} images otherwise than "
            f"Evaluate, by more than {tolerance:g} in a probability, and nothing was put in place. The first:{named}\n"
            f"If {run.stage_folder('evaluate')} was made on another machine or with other versions, delete it and "
            f"evaluate again: {run.luigi_command('Evaluate')}"
        )

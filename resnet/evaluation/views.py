"""The network's answers to all validation images, in any view.

Each image counts once, at any batch size and number of devices, and its answer is the same to the last bit on devices
of one kind: see `loader.batches.validation_batches` and `inference.Predictor`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
from scipy.special import log_softmax

from resnet.inference import Answers, answers_of, joined
from resnet.loader.batches import EvaluationView, validation_batches, view_of
from resnet.loader.loader import Batch
from resnet.loader.transforms import packed
from resnet.loader.views import LONGEST
from resnet.progress import Progress
from resnet.records.shards import ShardedRecords
from resnet.run import Run


class Network(Protocol):
    """What answers: see `inference.Predictor`."""

    @property
    def devices(self) -> int: ...

    def __call__(self, images: np.ndarray) -> np.ndarray: ...

    def of_any_size(self, images: list[np.ndarray]) -> np.ndarray: ...


class Seen(NamedTuple):
    """What came of a pass over the validation images, in the order of the records."""

    answers: Answers
    filenames: list[str]
    cut: int  # images of which the view shows the middle only: see `loader.views.whole_box`


def evaluate_view(
    run: Run,
    records: ShardedRecords,
    network: Network,
    view: str = "1-crop",
    keep: Callable[[np.ndarray], None] = lambda logits: None,
) -> Seen:
    """Show all images in this view. `keep` gets the logits of image after image, float32 [n, classes]."""
    answers, filenames, cut = [], [], 0
    looks, workers, devices = view_of(view, run.recipe), run.machine.workers, network.devices
    activity = "evaluating" if view == "1-crop" else f"evaluating {view}"
    with (
        validation_batches(run.recipe, records, workers, view=view, devices=devices, filenames=True) as loader,
        Progress(activity, len(records), "images") as progress,
    ):
        for batch, logits in _averaged(looks, loader, network):
            keep(logits.astype(np.float32, copy=False))
            answers.append(answers_of(logits, batch.labels))
            filenames += batch.filenames
            cut += sum(max(size) >= LONGEST * min(size) for size in batch.sizes)
            progress.advance(len(batch.labels))
    return Seen(joined(answers), filenames, cut)


def _averaged(looks: EvaluationView, loader: Iterable[Batch], network: Network) -> Iterator[tuple[Batch, np.ndarray]]:
    """Each batch, as it is first looked at, with the logits of all looks at it.

    Those of several looks are the logarithms of the mean probabilities (float64): their softmax is that mean.
    """
    batches = iter(loader)
    for first in batches:
        again = itertools.islice(batches, len(looks.transforms) - 1)
        found = [logits for batch in itertools.chain([first], again) for logits in _looked_at(looks, batch, network)]
        if len(found) == 1:
            yield first, found[0]
        else:
            log_probabilities = (log_softmax(logits.astype(np.float64), 1) for logits in found)
            yield first, functools.reduce(np.logaddexp, log_probabilities) - np.log(len(found))


def _looked_at(looks: EvaluationView, batch: Batch, network: Network) -> list[np.ndarray]:
    """The logits of a look, and of its mirror image where the view has one."""
    if looks.is_whole:
        images = [packed(row, size)[None] for row, size in zip(batch.images, batch.sizes, strict=True)]
        return [network.of_any_size(images)]
    plain = network(batch.images)
    return [plain, network(np.ascontiguousarray(batch.images[:, :, ::-1]))] if looks.is_mirrored else [plain]

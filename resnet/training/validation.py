"""Validation during training: loss and errors at the end of each epoch, with the moving statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np

from resnet.hosts.meeting import Meeting
from resnet.inference import Predictor, answers_of, joined, scores
from resnet.loader.batches import block, validation_batches, validation_steps
from resnet.loader.loader import Batch
from resnet.loader.sampler import Share
from resnet.progress import Progress
from resnet.records.shards import ShardedRecords
from resnet.run import Run


class Validation:
    """Call it for the scores of a pass. One loader serves all epochs, because starting workers takes a moment.

    Of each batch, a host reads its share; all hosts know the scores. A pass ends within a batch, with
    KeyboardInterrupt, when the hosts agree to stop: a cluster that sends SIGTERM waits for half a minute only.
    """

    def __init__(self, run: Run, predictor: Predictor, meeting: Meeting):
        recipe, records, devices = run.recipe, ShardedRecords(run.records, "validation"), predictor.devices
        self._labels = records.index["label"].astype(np.int32)
        self._steps, self._batch_size = validation_steps(records, devices), block(records) * devices
        self._loader = validation_batches(
            recipe,
            records,
            run.machine.workers,
            devices=devices,
            passes=1 + recipe.training.epochs,  # the first one checks the records
            share=Share(meeting.cluster.rank, meeting.cluster.hosts),
        )
        self._batches = iter(self._loader)
        self._predictor, self._meeting = predictor, meeting

    def __enter__(self) -> Validation:
        return self

    def __exit__(self, *_: object) -> None:
        self._loader.close()

    @property
    def chance_error(self) -> float:
        """Top-1 error in percent of always answering the most frequent class."""
        return 100 * (1 - np.bincount(self._labels).max() / len(self._labels))

    @property
    def images(self) -> int:
        """How many there are."""
        return len(self._labels)

    def check(self) -> None:
        """Read and decode every image once, without the network.

        Raises UserError for a corrupt record: before the first step, instead of after an epoch.
        """
        with Progress("checking validation images", self.images, "images", is_preparation=True) as progress:
            for number, _ in enumerate(self._one_pass()):
                if self._meeting.is_at_end:
                    raise KeyboardInterrupt
                progress.advance(min(self._batch_size, self.images - number * self._batch_size))

    def __call__(self, on_batch: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Loss, and errors in percent, over the validation images."""
        answers, done = [], 0
        for batch in self._one_pass():
            if not self._meeting.turn():
                raise KeyboardInterrupt
            labels = self._labels[done : done + self._batch_size]
            answers.append(answers_of(self._predictor(batch.images, len(labels)), labels))
            done += len(labels)
            on_batch()
        return scores(joined(answers))

    def _one_pass(self) -> Iterator[Batch]:
        return islice(self._batches, self._steps)

"""Validation during training: loss and errors at the end of each epoch, with the moving statistics."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from resnet.inference import Predictor, answers_of, joined, scores
from resnet.loader.batches import validation_batches, validation_steps
from resnet.loader.loader import Batch
from resnet.progress import Progress
from resnet.records.shards import ShardedRecords
from resnet.run import Run
from resnet.training.interruption import Interruption


class Validation:
    """Call it for the scores of a pass. One loader serves all epochs, because starting workers takes a moment.

    A pass ends within a batch, with KeyboardInterrupt, when an interruption is requested: a cluster that sends SIGTERM
    waits for half a minute only.
    """

    def __init__(self, run: Run, predictor: Predictor, interruption: Interruption):
        recipe, records, devices = run.recipe, ShardedRecords(run.records, "validation"), predictor.devices
        self._images, self._steps = len(records), validation_steps(records, devices)
        passes = 1 + recipe.training.epochs  # the first one checks the records
        self._loader = validation_batches(recipe, records, run.machine.workers, devices=devices, passes=passes)
        self._batches = iter(self._loader)
        self._predictor, self._interruption = predictor, interruption

    def __enter__(self) -> Validation:
        return self

    def __exit__(self, *_: object) -> None:
        self._loader.close()

    def check(self) -> None:
        """Read and decode every image once, without the network.

        Raises UserError for a corrupt record: before the first step, instead of after an epoch.
        """
        with Progress("checking validation images", self._images, "images", is_preparation=True) as progress:
            for batch in self._one_pass():
                progress.advance(len(batch.labels))

    def __call__(self) -> dict[str, float]:
        """Loss, and errors in percent, over the validation images."""
        return scores(joined([answers_of(self._predictor(batch.images), batch.labels) for batch in self._one_pass()]))

    def _one_pass(self) -> Iterator[Batch]:
        for batch in islice(self._batches, self._steps):
            if self._interruption.requested:
                raise KeyboardInterrupt
            yield batch

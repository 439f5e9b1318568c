"""Validation during training: loss and errors at the end of each epoch, with the moving statistics."""

from __future__ import annotations

from itertools import islice

from resnet.inference import Predictor, answers_of, joined, scores
from resnet.loader.batches import validation_batches, validation_steps
from resnet.records.shards import ShardedRecords
from resnet.settings import Recipe


class Validation:
    """Call it for the scores of a pass. One loader serves all epochs, because starting workers takes a moment."""

    def __init__(self, recipe: Recipe, records: ShardedRecords, workers: int, predictor: Predictor):
        self._loader = validation_batches(recipe, records, workers, passes=recipe.training.epochs)
        self._batches = iter(self._loader)
        self._steps = validation_steps(recipe, records)
        self._predictor = predictor

    def __enter__(self) -> Validation:
        return self

    def __exit__(self, *_: object) -> None:
        self._loader.close()

    def __call__(self) -> dict[str, float]:
        """Loss, and errors in percent, over the validation images."""
        batches = islice(self._batches, self._steps)
        return scores(joined([answers_of(self._predictor(batch.images), batch.labels) for batch in batches]))

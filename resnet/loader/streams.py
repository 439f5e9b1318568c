"""A run's images, as loaders: what training and evaluation iterate over."""

from __future__ import annotations

from resnet.artifacts import Run
from resnet.loader.loader import Loader
from resnet.loader.order import EvaluationOrder, TrainingOrder
from resnet.records.shards import ShardedRecords


def training_images(run: Run, records: ShardedRecords, first_step: int, last_step: int) -> Loader:
    """The recipe's batches of augmented images, from one step to another."""
    training = run.recipe.training
    return Loader(
        records,
        TrainingOrder(len(records), training.batch_size, training.seed),
        run.recipe.model.image_size,
        first_step=first_step,
        last_step=last_step,
        workers=run.machine.workers,
        seed=training.seed,
        augmentation=run.recipe.augmentation,
        max_corrupt=run.recipe.records.max_corrupt,
    )


def validation_images(run: Run, records: ShardedRecords, *, rounds: int = 1, filenames: bool = False) -> Loader:
    """All validation images, each once a round, shorter side scaled and centre cropped.

    A round is `validation_steps` batches; its last batch is as small as it comes out.
    """
    order = _validation_order(run, records)
    return Loader(
        records,
        order,
        run.recipe.model.image_size,
        first_step=0,
        last_step=order.steps * rounds,
        workers=run.machine.workers,
        shorter_side=run.recipe.evaluation.shorter_side,
        filenames=filenames,
    )


def validation_steps(run: Run, records: ShardedRecords) -> int:
    """Batches in a round of the validation images."""
    return _validation_order(run, records).steps


def _validation_order(run: Run, records: ShardedRecords) -> EvaluationOrder:
    return EvaluationOrder(len(records), run.recipe.training.batch_size)

"""The batches of a recipe: what training and evaluation iterate over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from resnet.loader.loader import Loader
from resnet.loader.sampler import EvaluationSampler, TrainingSampler
from resnet.loader.transforms import Augment, CenterCrop
from resnet.records.shards import ShardedRecords
from resnet.settings import Recipe


def training_batches(
    recipe: Recipe,
    records: ShardedRecords,
    workers: int,
    first_step: int,
    last_step: int,
    corrupt: Sequence[str] = (),
    should_stop: Callable[[], bool] = lambda: False,
) -> Loader:
    """Batches of augmented images, from one step to another.

    `corrupt`: the records that the run knows as such; `should_stop`: whether to end early: see `Loader`.
    """
    training = recipe.training
    return Loader(
        records,
        TrainingSampler(len(records), training.batch_size, training.seed),
        Augment.of(recipe.augmentation),
        recipe.model.image_size,
        first_step=first_step,
        last_step=last_step,
        workers=workers,
        seed=training.seed,
        max_corrupt=recipe.records.max_corrupt,
        corrupt=corrupt,
        should_stop=should_stop,
    )


def validation_batches(
    recipe: Recipe, records: ShardedRecords, workers: int, *, passes: int = 1, filenames: bool = False
) -> Loader:
    """All validation images, each once a pass: shorter side scaled, centre cropped.

    A pass is `validation_steps` batches; the last one may be smaller.
    """
    sampler = _validation_sampler(recipe, records)
    return Loader(
        records,
        sampler,
        CenterCrop.of(recipe.evaluation),
        recipe.evaluation_size,
        first_step=0,
        last_step=sampler.steps * passes,
        workers=workers,
        filenames=filenames,
    )


def validation_steps(recipe: Recipe, records: ShardedRecords) -> int:
    """Batches in a pass over the validation images."""
    return _validation_sampler(recipe, records).steps


def _validation_sampler(recipe: Recipe, records: ShardedRecords) -> EvaluationSampler:
    return EvaluationSampler(len(records), recipe.training.batch_size)

"""The batches of a recipe: what training and evaluation iterate over."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from resnet.loader.loader import Loader
from resnet.loader.sampler import ALL, EvaluationSampler, Share, TrainingSampler
from resnet.loader.transforms import Augment, CenterCrop, CornerCrop, Transform, WholeScaled
from resnet.records.shards import ShardedRecords
from resnet.settings import Recipe

BLOCK = 64  # validation images that a device runs at a time, if there are so many
SCALES = (224, 256, 384, 480, 640)  # shorter sides of the multi-scale view for crops of 224 (He et al. 2015)


class EvaluationView(NamedTuple):
    """How evaluation looks at an image: once for each of the transforms."""

    transforms: Sequence[Transform]
    size: int  # pixels: side of the square that has room for what is shown
    is_mirrored: bool = False  # whether each look is repeated in the mirror
    is_whole: bool = False  # whether whole images are shown, each in its own size


def view_of(name: str, recipe: Recipe) -> EvaluationView:
    """The view of that name, of evaluation.views."""
    size, evaluation = recipe.evaluation_size, recipe.evaluation
    shorter_side, interpolation = evaluation.shorter_side, evaluation.interpolation
    centre = CenterCrop.of(evaluation)
    if name == "1-crop":
        return EvaluationView([centre], size)
    if name == "10-crop":
        places = itertools.product((False, True), repeat=2)
        corners = [CornerCrop(shorter_side, interpolation, right, bottom) for bottom, right in places]
        return EvaluationView([*corners, centre], size, is_mirrored=True)
    whole = [WholeScaled(round(scale * size / SCALES[0]), interpolation) for scale in SCALES]
    return EvaluationView(whole, whole[-1].fits, is_whole=True)


def doubts(name: str, recipe: Recipe) -> list[str]:
    """Why a view may not show what somebody who asks for it expects, a sentence each."""
    evaluation, augmentation = recipe.evaluation, recipe.augmentation
    found = []
    if name == "10-crop" and evaluation.shorter_side == recipe.evaluation_size:
        found.append("Of a square image, all crops are the same: evaluation.shorter_side is their size.")
    if name == "10-crop" and not augmentation.flip:
        found.append("Training showed no mirror images (augmentation.flip is false), and this view does.")
    if name == "multi-scale" and augmentation.crop == "pad":
        found.append('Training showed one scale only (augmentation.crop is "pad"), and this view shows others.')
    return found


def training_batches(
    recipe: Recipe,
    records: ShardedRecords,
    workers: int,
    first_step: int,
    last_step: int,
    corrupt: Sequence[str] = (),
    should_stop: Callable[[], bool] = lambda: False,
    share: Share = ALL,
) -> Loader:
    """Batches of augmented images, from one step to another: of each batch, the rows that are this host's share.

    `corrupt`: the records that the run knows as such; `should_stop`: whether to end early: see `Loader`. Each host
    finds and counts the corrupt records of its own share.
    """
    training, size_in = recipe.training, recipe.training_size
    return Loader(
        records,
        TrainingSampler(len(records), training.batch_size, training.seed, share),
        [Augment.of(recipe.augmentation, recipe.model.image_size)],
        recipe.model.image_size,
        first_step=first_step,
        last_step=last_step,
        workers=workers,
        seed=training.seed,
        max_corrupt=recipe.records.max_corrupt,
        corrupt=corrupt,
        should_stop=should_stop,
        size_of=lambda step: size_in(step * training.batch_size // len(records)),
    )


def validation_batches(
    recipe: Recipe,
    records: ShardedRecords,
    workers: int,
    *,
    view: str = "1-crop",
    devices: int = 1,
    passes: int = 1,
    filenames: bool = False,
    share: Share = ALL,
) -> Loader:
    """All validation images, each once a pass for every look of the view; with several hosts, this one's share.

    A batch has a `block` for each device, in the order of the records, whatever the recipe's batch size: so a device
    always runs the same images together, however many devices there are. (Of whole images, each device runs one at a
    time.) A pass is `validation_steps` batches; the last one may be smaller.

    `devices`: those of all hosts, as many on each. A host gets the blocks of its own devices; in the last batch of a
    pass they may have no image at all, and the batch is empty.
    """
    if devices % share.hosts:
        raise ValueError(f"{devices} devices are not as many on each of {share.hosts} hosts")
    looks = view_of(view, recipe)
    at_a_time = 1 if looks.is_whole else block(records)
    sampler = EvaluationSampler(len(records), at_a_time * devices, len(looks.transforms), share)
    return Loader(
        records,
        sampler,
        looks.transforms,
        looks.size,
        first_step=0,
        last_step=sampler.steps * passes,
        workers=workers,
        filenames=filenames,
    )


def validation_steps(records: ShardedRecords, devices: int = 1) -> int:
    """Batches in a pass over the validation images, of the 1-crop view. `devices`: those of all hosts."""
    return EvaluationSampler(len(records), block(records) * devices).steps


def block(records: ShardedRecords) -> int:
    """How many validation images a device runs at a time."""
    return min(BLOCK, len(records))

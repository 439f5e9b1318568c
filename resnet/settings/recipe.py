"""A recipe: all sections of settings, and what must hold between them."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import tomli_w
from pydantic import ValidationError, model_validator

from resnet.settings.sections import Augmentation, BatchNorm, Dataset, Evaluation, Model, Records, Section, Training


class Recipe(Section):
    """One experiment."""

    dataset: Dataset = Dataset()
    records: Records = Records()
    model: Model = Model()
    augmentation: Augmentation = Augmentation()
    training: Training = Training()
    batchnorm: BatchNorm = BatchNorm()
    evaluation: Evaluation = Evaluation()

    @property
    def evaluation_size(self) -> int:
        """Height and width of the images that the network is evaluated on, in pixels."""
        return self.evaluation.image_size or self.model.image_size

    def training_size(self, epoch: int) -> int:
        """Height and width of the training images in an epoch, counted from 0, in pixels. They grow evenly, rounded
        down to a multiple of training.growing_pixels above the first."""
        first, last, training = self.training.first_image_size, self.model.image_size, self.training
        if not first or epoch >= training.growing_epochs:
            return last
        grown = (last - first) * epoch // training.growing_epochs
        return first + grown // training.growing_pixels * training.growing_pixels

    @model_validator(mode="after")
    def _shorter_side_follows(self) -> Recipe:
        """Resolve evaluation.shorter_side, so that what is recorded and shown is what is done."""
        if not self.evaluation.shorter_side:
            length = math.floor(self.evaluation_size / self.evaluation.crop_fraction)  # rounded as in timm
            self.__dict__["evaluation"] = self.evaluation.model_copy(update={"shorter_side": length})
        return self

    @model_validator(mode="after")
    def _xla_can_be_deterministic(self) -> Recipe:
        if self.training.xla and self.training.deterministic and self.model.stages == 4:
            raise ValueError(
                "training.xla needs training.deterministic=false: XLA has no deterministic gradient of the max pooling "
                f"that ResNet-{self.model.depth} begins with"
            )
        return self

    @model_validator(mode="after")
    def _crops_fit(self) -> Recipe:
        if self.records.in_place and self.records.parts > 1:
            raise ValueError("records.parts: with records.in_place there is no conversion to split")
        if self.records.in_place and self.dataset.source != "tfrecords":
            raise ValueError('records.in_place is for dataset.source = "tfrecords"')
        size = self.model.image_size
        if self.augmentation.crop == "scale" and self.augmentation.scale_min < size:
            raise ValueError(
                f"augmentation.scale_min ({self.augmentation.scale_min}) is less than model.image_size ({size})"
            )
        if (self.augmentation.mixup or self.augmentation.cutmix) and self.training.replica_batch_size == 1:
            raise ValueError("mixup and cutmix mix images of a replica: training.replica_batch_size must be 2 at least")
        if (first := self.training.first_image_size) > size:
            raise ValueError(f"training.first_image_size ({first}) is greater than model.image_size ({size})")
        if self.augmentation.crop == "pad" and self.augmentation.padding >= size:
            raise ValueError(
                f"augmentation.padding ({self.augmentation.padding}) must be less than model.image_size ({size})"
            )
        if self.evaluation.shorter_side < self.evaluation_size:
            name = "evaluation.image_size" if self.evaluation.image_size else "model.image_size"
            raise ValueError(
                f"evaluation.shorter_side ({self.evaluation.shorter_side}) is less than {name} ({self.evaluation_size})"
            )
        if "stage4" in self.training.freeze and self.model.stages < 4:
            raise ValueError(f"training.freeze: ResNet-{self.model.depth} has no stage4")
        return self

    @property
    def stated(self) -> list[str]:
        """The settings that were given, and not left at their defaults, as SECTION.KEY."""
        return sorted(f"{name}.{key}" for name, section in self for key in section.model_fields_set)

    def toml(self) -> str:
        """The resolved recipe, every setting spelled out."""
        return tomli_w.dumps(self.model_dump())


def without_unstated(values: dict[str, Any], stated: Collection[str]) -> dict[str, Any]:
    """The values of a recipe that a run stored, as the recipe that it came from had them: without those that it left
    out (`stated`: the others, as SECTION.KEY), where they are today's defaults anyway."""
    defaults = Recipe().model_dump()
    return {
        section: {
            key: value
            for key, value in settings.items()
            if f"{section}.{key}" in stated or value != defaults[section][key]
        }
        for section, settings in values.items()
    }


def without_derived(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a resolved recipe without the one that follows from others, so that it can follow other ones."""
    evaluation = values.get("evaluation", {})
    own = {section: settings for section, settings in values.items() if section in ("model", "evaluation")}
    try:
        following = Recipe.model_validate(own | {"evaluation": evaluation | {"shorter_side": 0}})
    except ValidationError:  # which whoever validates the whole recipe reports
        return values
    if evaluation.get("shorter_side") != following.evaluation.shorter_side:
        return values
    return values | {"evaluation": {key: value for key, value in evaluation.items() if key != "shorter_side"}}

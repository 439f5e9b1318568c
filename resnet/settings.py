"""The recipe: every setting that changes the numbers, declared once with its default, meaning and unit.

The defaults are the recipe being reproduced (ResNet-50 on ImageNet, 120 epochs on 4 GPUs of 64 images);
a file in recipes/ states only what its experiment does differently. What changes only where and how fast
(folders, worker processes, devices) is no part of a recipe: see `resnet.artifacts.Run`.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from resnet.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(__file__).parent / "recipes"


def setting(default: Any, help: str, unit: str = "", *, moves_numbers: bool = True, **bounds: Any) -> Any:
    """A recipe setting: its default, one sentence of help, its unit, and pydantic's bounds (ge, le, min_length ...).

    A setting that does not move the numbers (how often to save, say) can be changed without making a stage stale.
    """
    extra: Any = {"unit": unit, "moves_numbers": moves_numbers}
    factory = {"default_factory": lambda: list(default)} if isinstance(default, list) else {"default": default}
    return Field(description=help, json_schema_extra=extra, **factory, **bounds)


Epoch = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def numbers(self) -> dict[str, Any]:
        """The settings that decide the numbers, by name."""
        extras: Any = {name: field.json_schema_extra for name, field in type(self).model_fields.items()}
        return {name: value for name, value in self.model_dump().items() if extras[name]["moves_numbers"]}


class Dataset(Section):
    source: Literal["imagenet", "folder", "tfrecords", "idx", "digits"] = setting(
        "imagenet", "Where labelled images come from."
    )
    name: str = setting(
        "",
        "Names the folder of records; empty: the name of the data folder, or of the source.",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$",
    )
    validation_fraction: float = setting(
        0.2, "Part of each class held out where the source has no validation set of its own.", gt=0, lt=1
    )
    split_seed: int = setting(0, "Decides which images are held out.", ge=0)
    class_names: list[str] = setting(
        [], "Names of the classes, for sources that store only their numbers (idx, some TFRecords)."
    )
    first_label: int = setting(
        -1, "tfrecords: the label of the first class, 0 or 1; -1: recognised, where that is certain.", ge=-1, le=1
    )
    train_images: int = setting(
        0, "Training images that must be found; 0: any number.", "images", moves_numbers=False, ge=0
    )
    validation_images: int = setting(
        0, "Validation images that must be found; 0: any number.", "images", moves_numbers=False, ge=0
    )
    classes: int = setting(0, "Classes that must be found; 0: any number.", "classes", moves_numbers=False, ge=0)


class Records(Section):
    train_shards: int = setting(1024, "Files that the training images are spread over.", "files", ge=1, le=99999)
    validation_shards: int = setting(128, "Files that the validation images are spread over.", "files", ge=1, le=99999)
    seed: int = setting(0, "Decides which image goes to which shard.", ge=0)
    in_place: bool = setting(
        False,
        "Leave TFRecords made elsewhere where they are, and index them only: no second copy, but a crop of theirs "
        "costs a full decode.",
    )
    parts: int = setting(
        1,
        "Luigi tasks that conversion is split into, for several hosts under one scheduler.",
        "tasks",
        moves_numbers=False,
        ge=1,
    )
    max_rejected: int = setting(
        0, "Unreadable images to accept before conversion fails.", "images", moves_numbers=False, ge=0
    )
    max_corrupt: int = setting(
        0,
        "Records damaged since conversion that may give way to other images before training stops; "
        "evaluation accepts none.",
        "records",
        moves_numbers=False,
        ge=0,
    )


class Model(Section):
    depth: Literal[18, 34, 50, 101, 152, 20, 32, 44, 56, 110] = setting(
        50, "Layers with weights; 18 to 152 as for ImageNet, 20 to 110 (6n+2) as for CIFAR-10.", "layers"
    )
    image_size: int = setting(224, "Height and width of the network's input.", "pixels", ge=8)
    stride_in: Literal["1x1", "3x3"] = setting(
        "1x1", "Which convolution of a bottleneck halves the resolution: 1x1 as published, 3x3 as others' v1.5."
    )


class Augmentation(Section):
    crop: Literal["scale", "area", "pad"] = setting(
        "scale",
        "scale: shorter side to a random length, random crop (He et al. 2015); "
        "area: crop of random area and aspect ratio (Szegedy et al. 2015); pad: zero border, random crop (CIFAR-10).",
    )
    scale_min: int = setting(256, "scale: least length of the shorter side.", "pixels", ge=8)
    scale_max: int = setting(480, "scale: greatest length of the shorter side.", "pixels", ge=8)
    area_min: float = setting(0.08, "area: least part of the image's area.", "of the area", gt=0, le=1)
    aspect_max: float = setting(4 / 3, "area: greatest ratio of width to height, and of height to width.", ge=1)
    padding: int = setting(4, "pad: zero pixels added on each side.", "pixels", ge=0)
    flip: bool = setting(True, "Mirror every other image, at random.")
    color: bool = setting(
        True, "Random brightness, saturation, hue and contrast, as TensorFlow's tf_cnn_benchmarks has them."
    )

    @model_validator(mode="after")
    def _scales_are_ordered(self) -> Augmentation:
        if self.scale_min > self.scale_max:
            raise ValueError(f"scale_min ({self.scale_min}) is greater than scale_max ({self.scale_max})")
        return self


class Training(Section):
    epochs: int = setting(120, "Passes over the training images.", "epochs", ge=1)
    batch_size: int = setting(256, "Images a step, over all replicas.", "images", ge=1)
    replica_batch_size: int = setting(64, "Images that share batch-norm statistics: one replica's.", "images", ge=1)
    learning_rate: float = setting(0.1, "Learning rate at the start.", gt=0)
    drop_epochs: list[Epoch] = setting([30, 60, 90], "Epochs after which the learning rate drops.", "epochs")
    drop_factor: float = setting(0.1, "What the learning rate is multiplied by at a drop.", gt=0, le=1)
    momentum: float = setting(0.9, "Momentum of SGD (He et al. 2015).", ge=0, lt=1)
    weight_decay: float = setting(
        1e-4, "Added to the gradient as weight_decay x weight (Caffe's and torch's convention).", ge=0
    )
    seed: int = setting(0, "Decides initial weights, order of images and augmentation.", ge=0)
    checkpoint_steps: int = setting(1000, "Steps between checkpoints.", "steps", moves_numbers=False, ge=1)
    keep_epochs: list[Epoch] = setting(
        [], "Epochs whose checkpoints are kept for good, beside the newest three.", "epochs", moves_numbers=False
    )
    precision: Literal["float32", "bfloat16"] = setting(
        "float32",
        "Type of the activations; float32 is TensorFloat-32 on GPUs that have it. Weights and loss are float32 always.",
    )

    @model_validator(mode="after")
    def _replicas_share_the_batch_evenly(self) -> Training:
        if self.batch_size % self.replica_batch_size:
            raise ValueError(
                f"batch_size ({self.batch_size}) is not a multiple of replica_batch_size ({self.replica_batch_size})"
            )
        if sorted(set(self.drop_epochs)) != self.drop_epochs:
            raise ValueError(f"drop_epochs must rise: {self.drop_epochs}")
        return self

    @property
    def groups(self) -> int:
        """Groups of images with batch-norm statistics of their own: the recipe's replicas."""
        return self.batch_size // self.replica_batch_size


class BatchNorm(Section):
    batches: int = setting(25, "Training batches whose mean and variance are averaged after training.", "batches", ge=1)


class Evaluation(Section):
    views: list[Literal["1-crop"]] = setting(["1-crop"], "How each validation image is shown.", min_length=1)
    shorter_side: int = setting(
        256, "Length that the shorter side is scaled to before the centre crop.", "pixels", ge=8
    )


class Recipe(Section):
    """One experiment."""

    dataset: Dataset = Dataset()
    records: Records = Records()
    model: Model = Model()
    augmentation: Augmentation = Augmentation()
    training: Training = Training()
    batchnorm: BatchNorm = BatchNorm()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _crops_fit(self) -> Recipe:
        if self.records.in_place and self.records.parts > 1:
            raise ValueError("records.parts: what stays in place is not converted, so there is nothing to split")
        if self.records.in_place and self.dataset.source != "tfrecords":
            raise ValueError('records.in_place is for dataset.source = "tfrecords"')
        size = self.model.image_size
        if self.augmentation.crop == "scale" and self.augmentation.scale_min < size:
            raise ValueError(
                f"augmentation.scale_min ({self.augmentation.scale_min}) is less than model.image_size ({size})"
            )
        if self.augmentation.crop == "pad" and self.augmentation.padding >= size:
            raise ValueError(
                f"augmentation.padding ({self.augmentation.padding}) leaves nothing of model.image_size ({size})"
            )
        if self.evaluation.shorter_side < size:
            raise ValueError(
                f"evaluation.shorter_side ({self.evaluation.shorter_side}) is less than model.image_size ({size})"
            )
        return self

    def toml(self) -> str:
        """The resolved recipe, every setting spelled out."""
        return tomli_w.dumps(self.model_dump())


def load_recipe(recipe: str, overrides: Sequence[str] = ()) -> tuple[str, Recipe]:
    """Read a shipped recipe by name, or a TOML file by path, and apply `section.key=value` overrides.

    Returns the recipe's name (the file's, without .toml) and the validated settings.
    Raises UserError that names the file, the setting, and the nearest valid name.
    """
    path = _find(recipe)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"recipe {path}: this is not valid TOML: {error}") from None
    except OSError as error:
        raise UserError(f"recipe {path}: cannot be read: {error.strerror}") from None
    for override in overrides:
        _apply(override, values)
    where = f"recipe {path}" + (f" with {', '.join(overrides)}" if overrides else "")
    _reject_unknown(values, where)
    try:
        return path.stem, Recipe.model_validate(values)
    except ValidationError as error:
        raise UserError("\n".join(f"{where}: {line}" for line in _sentences(error))) from None


def shipped_recipes() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def declared() -> Iterator[tuple[str, str, Any, str, str]]:
    """Every setting as (section, key, default, unit, help), in the order of declaration."""
    for section, value in Recipe():
        for key, field in type(value).model_fields.items():
            yield section, key, getattr(value, key), field.json_schema_extra["unit"], field.description or ""


def settings_page() -> str:
    """docs/settings.md: every setting with default, unit and meaning."""
    lines = [
        "# Settings of a recipe",
        "",
        "Written by `python -m resnet settings`. The defaults are the recipe being reproduced: ResNet-50 on ImageNet.",
        "",
        "| setting | default | unit | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for section, key, default, unit, meaning in declared():
        lines.append(f"| `{section}.{key}` | `{json.dumps(default)}` | {unit} | {meaning} |")
    return "\n".join(lines) + "\n"


def _find(recipe: str) -> Path:
    if recipe.endswith(".toml"):
        if not Path(recipe).is_file():
            raise UserError(f"recipe {recipe}: there is no such file")
        return Path(recipe)
    shipped = shipped_recipes()
    if recipe not in shipped:
        raise UserError(
            f"there is no recipe {recipe!r}{_nearest(recipe, shipped)} "
            f"Give the path of a .toml file, or one of: {', '.join(shipped)}."
        )
    return RECIPES / f"{recipe}.toml"


def _apply(override: str, values: dict[str, Any]) -> None:
    name, equals, text = override.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and section and key):
        raise UserError(f"override {override!r}: write it as section.key=value, such as training.epochs=3")
    if not isinstance(values.setdefault(section, {}), dict):
        raise UserError(f"override {override!r}: {section!r} is not a section of this recipe")
    try:
        values[section][key] = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        values[section][key] = text.strip()  # a bare word: text needs no quotes on the command line


def _reject_unknown(values: dict[str, Any], where: str) -> None:
    sections = {name: list(type(section).model_fields) for name, section in Recipe()}
    for section, keys in values.items():
        if section not in sections:
            raise UserError(f"{where}: unknown section [{section}]{_nearest(section, list(sections))}")
        if not isinstance(keys, dict):
            raise UserError(f"{where}: {section!r} must be a section: [{section}]")
        for key in keys:
            if key not in sections[section]:
                here = {name: f"{section}.{name}" for name in sections[section]}
                anywhere = {name: f"{other}.{name}" for other, names in sections.items() for name in names}
                if key in anywhere:
                    hint = f"; did you mean {anywhere[key]}?"
                else:
                    nearest = difflib.get_close_matches(key, here, n=1) or difflib.get_close_matches(key, anywhere, n=1)
                    hint = f"; did you mean {(anywhere | here)[nearest[0]]}?" if nearest else "."
                raise UserError(f"{where}: unknown setting {section}.{key}{hint}")


def _nearest(name: str, valid: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else "."


def _sentences(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "value_error":
            yield f"{name}: {problem['ctx']['error']}" if name else str(problem["ctx"]["error"])
        else:
            message = problem["msg"][0].lower() + problem["msg"][1:]
            yield f"{name}: {message.replace('input', 'it')}, but is {problem['input']!r}"

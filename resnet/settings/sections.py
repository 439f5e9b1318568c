"""The settings of a recipe, each declared once with its default, meaning and unit.

The defaults are the recipe being reproduced (ResNet-50 on ImageNet, 120 epochs on 4 GPUs of 64 images). A file in
recipes/ states only what its experiment does differently. Machine settings (folders, worker processes, devices) never
affect results, so they are not here: see `resnet.run.Machine`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from resnet.errors import UserError


def setting(default: Any, help: str, unit: str = "", *, affects_results: bool = True, **bounds: Any) -> Any:
    """A recipe setting: its default, one sentence of help, its unit, and pydantic's bounds (ge, le, min_length ...).

    A setting that does not affect results (how often to save, say) can change without making a stage stale.
    """
    extra: Any = {"unit": unit, "affects_results": affects_results}
    factory = {"default_factory": lambda: list(default)} if isinstance(default, list) else {"default": default}
    return Field(description=help, json_schema_extra=extra, **factory, **bounds)


Epoch = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """A section of a recipe: frozen, with strict types and no unknown names."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def affecting_results(self) -> dict[str, Any]:
        """The settings that affect results, by name."""
        extras: Any = {name: field.json_schema_extra for name, field in type(self).model_fields.items()}
        return {name: value for name, value in self.model_dump().items() if extras[name]["affects_results"]}


class Dataset(Section):
    """Which images."""

    source: Literal["imagenet", "folder", "tfrecords", "idx", "digits"] = setting(
        "imagenet", "Where labelled images come from."
    )
    name: str = setting(
        "",
        "Names the folder of records; empty: the name of the data folder, or of the source.",
        affects_results=False,
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$",
    )
    validation_fraction: float = setting(
        0.2, "Fraction of each class kept for validation where the source has no validation split.", gt=0, lt=1
    )
    split_seed: int = setting(0, "Decides which images are kept for validation.", ge=0)
    class_names: list[str] = setting(
        [], "Names of the classes, for sources that store only their numbers (idx, some TFRecords)."
    )
    first_label: int = setting(
        -1, "tfrecords: the label of the first class, 0 or 1; -1: recognise it, where that is certain.", ge=-1, le=1
    )
    train_images: int = setting(
        0, "Training images that must be found; 0: any number.", "images", affects_results=False, ge=0
    )
    validation_images: int = setting(
        0, "Validation images that must be found; 0: any number.", "images", affects_results=False, ge=0
    )
    # It affects results: the number of classes decides whether the labels of TFRecords count from 0 or 1.
    classes: int = setting(0, "Classes that must be found; 0: any number.", "classes", ge=0)


class Records(Section):
    """How images become records."""

    train_shards: int = setting(1024, "Shards (files) for the training images.", "shards", ge=1, le=99999)
    validation_shards: int = setting(128, "Shards (files) for the validation images.", "shards", ge=1, le=99999)
    seed: int = setting(0, "Decides which image goes to which shard.", ge=0)
    in_place: bool = setting(
        False,
        "Index TFRecords made elsewhere and leave them where they are: no second copy, but every crop decodes the "
        "whole image.",
    )
    parts: int = setting(
        1,
        "Luigi tasks to split the conversion into, for several hosts under one scheduler.",
        "tasks",
        affects_results=False,
        ge=1,
    )
    max_megapixels: int = setting(
        100,
        "Images of more pixels count as unreadable: their header is read, and they are not decoded.",
        "megapixels",
        ge=1,
        le=1073,  # OpenCV decodes none larger
    )
    max_rejected: int = setting(
        0, "Unreadable images to leave out before conversion fails.", "images", affects_results=False, ge=0
    )
    max_corrupt: int = setting(
        0,
        "Corrupt records to substitute with other images before training stops; evaluation substitutes none.",
        "records",
        affects_results=False,
        ge=0,
    )


class Model(Section):
    """The network."""

    depth: Literal[18, 34, 50, 101, 152, 8, 14, 20, 32, 44, 56, 110] = setting(
        50,
        "Layers with weights: 18 to 152 as for ImageNet, 8 to 110 (6n+2) as for CIFAR-10, published from 20 on.",
        "layers",
    )
    image_size: int = setting(224, "Height and width of the network's input.", "pixels", ge=8)
    stride_in: Literal["1x1", "3x3"] = setting(
        "1x1", 'Which convolution of a bottleneck has the stride: the 1x1 as published, or the 3x3 ("v1.5").'
    )
    normalization: Literal["unit", "torch", "caffe"] = setting(
        "unit",
        "How pixels enter the network. unit: divided by 255; torch: then also minus ImageNet's mean, divided by its "
        "deviation (torchvision, timm); caffe: 0 to 255 minus ImageNet's mean (He et al.'s released networks, Keras).",
    )
    epsilon: float = setting(1e-5, "Added to the variance in batch normalisation; Keras's ResNets have 1.001e-5.", gt=0)

    @property
    def stages(self) -> int:
        """How many stages of blocks the network has."""
        return 4 if self.depth in (18, 34, 50, 101, 152) else 3


class Augmentation(Section):
    """What happens to training images."""

    crop: Literal["scale", "area", "pad"] = setting(
        "scale",
        "scale: shorter side to a random length, random crop (He et al. 2015); "
        "area: crop of random area and aspect ratio (Szegedy et al. 2015); pad: zero border, random crop (CIFAR-10).",
    )
    scale_min: int = setting(256, "scale: smallest length of the shorter side.", "pixels", ge=8)
    scale_max: int = setting(480, "scale: largest length of the shorter side.", "pixels", ge=8)
    area_min: float = setting(0.08, "area: smallest fraction of the image's area.", "fraction", gt=0, le=1)
    aspect_max: float = setting(4 / 3, "area: largest ratio of width to height, and of height to width.", ge=1)
    padding: int = setting(4, "pad: zero pixels added on each side.", "pixels", ge=0)
    flip: bool = setting(True, "Mirror half of the images, at random.")
    color: bool = setting(
        True, "Random brightness, saturation, hue and contrast, as in TensorFlow's tf_cnn_benchmarks."
    )
    half_decoding: bool = setting(
        False,
        "Decode a crop of more than twice the input's height and width at half its size: libjpeg then does less, and "
        "pixels differ a little from those of a full decode.",
    )
    policy: Literal["none", "randaugment", "trivialaugment"] = setting(
        "none",
        "Operations chosen at random. randaugment: several of one strength (Cubuk et al. 2020, in timm's variant "
        '"inc1"); trivialaugment: one, of any strength (Müller and Hutter 2021, the wide space).',
    )
    operations: int = setting(2, "randaugment: operations an image; half of them are left out.", ge=1, le=8)
    magnitude: float = setting(9.0, "randaugment: their strength.", "tenths", ge=0, le=10)
    magnitude_deviation: float = setting(
        0.5, "randaugment: standard deviation of the strength, which is drawn for each operation.", "tenths", ge=0
    )
    erasing: float = setting(
        0.0,
        "Probability that a random rectangle is covered (Zhong et al. 2020, as in torchvision).",
        "fraction",
        ge=0,
        le=1,
    )
    mixup: float = setting(
        0.0,
        "Mix each image with another; the share is drawn from a beta distribution with this parameter (Zhang et al. "
        "2018); 0: none.",
        ge=0,
    )
    cutmix: float = setting(
        0.0,
        "Replace a rectangle of each image with another's; its share likewise (Yun et al. 2019); 0: none. With mixup "
        "too, a replica gets one of the two, at random.",
        ge=0,
    )

    @model_validator(mode="after")
    def _scales_are_ordered(self) -> Augmentation:
        if self.scale_min > self.scale_max:
            raise ValueError(f"scale_min ({self.scale_min}) is greater than scale_max ({self.scale_max})")
        return self


class Training(Section):
    """Schedule, optimizer and checkpoints."""

    epochs: int = setting(120, "Passes over the training images.", "epochs", ge=1)
    batch_size: int = setting(256, "Images per step, over all replicas.", "images", ge=1)
    replica_batch_size: int = setting(64, "Images per replica: they share batch-norm statistics.", "images", ge=1)
    learning_rate: float = setting(0.1, "Initial learning rate; with a warm-up, the one that it ends with.", gt=0)
    warmup_epochs: int = setting(
        0, "Epochs in which the learning rate first rises, step by step (Goyal et al. 2017).", "epochs", ge=0
    )
    warmup_factor: float = setting(
        0.0, "Factor that multiplies the learning rate where the warm-up begins.", ge=0, le=1
    )
    schedule: Literal["drops", "cosine"] = setting(
        "drops",
        "How the learning rate falls. drops: at drop_epochs; cosine: along half a cosine, step by step, until the "
        "end (Loshchilov and Hutter 2017).",
    )
    drop_epochs: list[Epoch] = setting([30, 60, 90], "drops: epochs after which the learning rate drops.", "epochs")
    drop_factor: float = setting(0.1, "drops: factor that multiplies the learning rate.", gt=0, le=1)
    final_learning_rate: float = setting(0.0, "cosine: the learning rate in the end.", ge=0)
    optimizer: Literal["sgd", "lamb"] = setting(
        "sgd",
        "sgd: with momentum, the learning rate inside it as in Caffe; lamb: for large batches (You et al. 2020).",
    )
    momentum: float = setting(0.9, "sgd: momentum (He et al. 2015).", ge=0, lt=1)
    weight_decay: float = setting(1e-4, "How strongly weights are pulled towards zero.", ge=0)
    decay_kind: Literal["coupled", "decoupled", "lamb"] = setting(
        "coupled",
        "What weight_decay x weight is added to. coupled: the gradient, so it is part of the momentum (Caffe, torch's "
        "SGD); decoupled: the step, times the learning rate (Loshchilov and Hutter 2019); lamb: LAMB's update, before "
        "it is scaled.",
    )
    decayed: Literal["all", "all but norms", "kernels"] = setting(
        "all",
        "Which weights decay: all of them (fb.resnet.torch); not the scales and offsets of batch normalisation "
        "(Goyal et al. 2017); kernels only, so not the classifier's bias either (timm).",
    )
    clip_norm: float = setting(
        0.0, "Greatest norm of all gradients together, to which larger ones are scaled down; 0: any.", ge=0
    )
    label_smoothing: float = setting(
        0.0, "How much of a label's probability all classes share evenly (Szegedy et al. 2016).", "fraction", ge=0, lt=1
    )
    loss: Literal["cross-entropy", "binary"] = setting(
        "cross-entropy",
        "cross-entropy: of the classes' probabilities, which sum to one; binary: each class against all others, mean "
        "over the classes (Wightman et al. 2021).",
    )
    binary_threshold: float = setting(
        0.0,
        "binary, of mixed images: a class with a greater share than this is asked for with probability 1, any other "
        "with 0 (timm); 0: each with its share.",
        "fraction",
        ge=0,
        lt=1,
    )
    class_weights: Literal["none", "balanced"] | list[Weight] = setting(
        "none",
        "What multiplies the loss of an image. balanced: images / (classes x images of its class); or a number for "
        "each class, in their order.",
    )
    average: float = setting(
        0.0,
        "Decay of a moving average of the weights, which is then what is validated and kept; 0: none, the last weights "
        "are kept.",
        ge=0,
        lt=1,
    )
    average_steps: int = setting(1, "Steps from one average to the next.", "steps", ge=1)
    zero_last_scale: bool = setting(
        False,
        "Begin with the last batch normalisation of each block at scale 0, so that a block begins as its shortcut "
        "(Goyal et al. 2017).",
    )
    seed: int = setting(0, "Decides the initial weights, the sampling order and the augmentation.", ge=0)
    # It does not count as a setting of the stage, because the content of the weights does: see `resnet.ledger`.
    start_from: str = setting(
        "",
        "Fine-tuning: the weights to start from, a file (of torchvision, timm, Keras or this project) or the name of a "
        "run; empty: random weights.",
        affects_results=False,
    )
    freeze: list[Literal["stem", "stage1", "stage2", "stage3", "stage4"]] = setting(
        [], "Fine-tuning: layers that keep the weights and batch-norm statistics that they start with."
    )
    backbone_factor: float = setting(
        1.0, "Factor that multiplies the learning rate of all layers but the classifier.", ge=0
    )
    first_image_size: int = setting(
        0,
        "Height and width of the images of the first epoch, which then grow to model.image_size; 0: that size from the "
        "start.",
        "pixels",
        ge=0,
    )
    growing_epochs: int = setting(30, "Epochs in which the images grow.", "epochs", ge=1)
    growing_pixels: int = setting(
        32, "The size grows by a multiple of this: each size takes as long to begin with as the first.", "pixels", ge=1
    )
    checkpoint_steps: int = setting(1000, "Steps between checkpoints.", "steps", affects_results=False, ge=1)
    keep_epochs: list[Epoch] = setting(
        [], "Epochs whose checkpoints are kept, besides the newest three.", "epochs", affects_results=False
    )
    keep_best: bool = setting(
        False,
        "Also keep the weights of the epoch with the lowest validation error, in train/best.safetensors.",
        affects_results=False,
    )
    precision: Literal["float32", "tensorfloat32", "bfloat16", "float16"] = setting(
        "float32",
        "What convolutions compute in. tensorfloat32: on GPUs that have it, inputs of 10 bits of mantissa; elsewhere "
        "the same as float32. bfloat16, float16: activations too; float16 scales the loss, by a factor that adapts. "
        "Weights, statistics and loss are always float32.",
    )
    xla: bool = setting(
        False,
        "Compile the network's part of the step with XLA. The first step takes longer, by minutes on a GPU. The depths "
        "for ImageNet need deterministic=false with it.",
    )
    deterministic: bool = setting(
        True,
        "The same bits every time, on any number of devices and hosts of a kind: operations that repeat themselves, "
        "and sums over the replicas in one fixed order. Without: the same up to rounding.",
    )

    @model_validator(mode="after")
    def _replicas_share_the_batch_evenly(self) -> Training:
        if self.batch_size % self.replica_batch_size:
            raise ValueError(
                f"batch_size ({self.batch_size}) is not a multiple of replica_batch_size ({self.replica_batch_size})"
            )
        if sorted(set(self.drop_epochs)) != self.drop_epochs:
            raise ValueError(f"drop_epochs must rise: {self.drop_epochs}")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs}) must be fewer than epochs ({self.epochs})")
        if early := [epoch for epoch in self.drops if epoch < self.warmup_epochs]:
            raise ValueError(f"drop_epochs: {early[0]} is within the warm-up of {self.warmup_epochs} epochs")
        if self.final_learning_rate > self.learning_rate:
            raise ValueError(
                f"final_learning_rate ({self.final_learning_rate}) is greater than learning_rate ({self.learning_rate})"
            )
        if (self.decay_kind == "lamb") != (self.optimizer == "lamb"):
            kinds = '"lamb"' if self.optimizer == "lamb" else '"coupled" or "decoupled"'
            raise ValueError(
                f'decay_kind is "{self.decay_kind}": set it to {kinds}, which optimizer = "{self.optimizer}" needs'
            )
        if self.first_image_size and self.growing_epochs > self.epochs:
            raise ValueError(
                f"growing_epochs ({self.growing_epochs}) is more than epochs ({self.epochs}): images would never have "
                "model.image_size"
            )
        if self.binary_threshold and self.label_smoothing:
            raise ValueError("binary_threshold leaves nothing of label_smoothing: set one of them to 0")
        if self.freeze and not self.start_from:
            raise ValueError(
                "freeze keeps weights as they are: name trained ones in training.start_from, or set training.freeze=[]"
            )
        return self

    @property
    def without_effect(self) -> dict[str, str]:
        """The settings that differ from their defaults and do nothing, each with the setting that it needs."""
        needs = {
            "warmup_factor": (self.warmup_epochs > 0, "warmup_epochs"),
            "final_learning_rate": (self.schedule == "cosine", "schedule=cosine"),
            "binary_threshold": (self.loss == "binary", "loss=binary"),
            "average_steps": (self.average > 0, "average"),
            "growing_epochs": (self.first_image_size > 0, "first_image_size"),
            "growing_pixels": (self.first_image_size > 0, "first_image_size"),
        }
        return {
            name: need
            for name, (has_effect, need) in needs.items()
            if not has_effect and getattr(self, name) != type(self).model_fields[name].default
        }

    @property
    def drops(self) -> list[int]:
        """The epochs after which the learning rate drops."""
        return self.drop_epochs if self.schedule == "drops" else []

    @property
    def replicas(self) -> int:
        """How many replicas share a batch, each with batch-norm statistics of its own."""
        return self.batch_size // self.replica_batch_size

    def require_even_shares(self, hosts: int) -> None:
        """Raise UserError unless so many hosts can share the replicas evenly."""
        if self.replicas % hosts == 0:
            return
        possible = [str(count) for count in range(1, self.replicas + 1) if self.replicas % count == 0]
        counts = ", ".join(possible[:-1]) + f" or {possible[-1]} hosts" if len(possible) > 1 else "1 host"
        replicas = f"the recipe's {self.replicas} replicas" if self.replicas > 1 else "a recipe of one replica"
        raise UserError(
            f"{hosts} hosts cannot share {replicas} evenly: start {counts}, or set training.batch_size and "
            f"training.replica_batch_size so that the first is a multiple of {hosts} times the second."
        )


class BatchNorm(Section):
    """The statistics that are averaged after training."""

    batches: int = setting(
        25, "Training batches to average the mean and variance over, after training.", "batches", ge=1
    )


class Evaluation(Section):
    """How validation images are shown."""

    views: list[Literal["1-crop", "10-crop", "multi-scale"]] = setting(
        ["1-crop"],
        "How the network looks at each validation image; the first one's error is quoted. 1-crop: the centre; "
        "10-crop: corners and centre, also mirrored (Krizhevsky et al. 2012); multi-scale: the whole image at five "
        "sizes (He et al. 2015). The probabilities of several looks are averaged.",
        min_length=1,
    )
    image_size: int = setting(
        0, "Height and width of the crop; 0: model.image_size, which training uses.", "pixels", ge=0
    )
    crop_fraction: float = setting(
        224 / 256,
        "The crop's size divided by the shorter side, where shorter_side is not set.",
        affects_results=False,
        gt=0,
        le=1,
    )
    shorter_side: int = setting(
        0, "Length of the shorter side before the centre crop; 0: the crop's size / crop_fraction.", "pixels", ge=0
    )
    interpolation: Literal["opencv-linear", "pillow-bilinear", "pillow-bicubic"] = setting(
        "opencv-linear",
        "How images are resized. opencv-linear: as in training; pillow-bilinear and pillow-bicubic: with Pillow's "
        "antialiasing, as torchvision and timm evaluate.",
    )
    logits_megabytes: int = setting(
        1000,
        "The logits of all images are kept in a file, for calibration and label errors, if it is no larger than this.",
        "megabytes",
        ge=0,
    )
    statistics_curve: bool = setting(
        False,
        "Also measure the error with the moving averages, and with statistics averaged over 1, 5, 25, 100 and more "
        "batches.",
    )

    real_labels: str = setting(
        "",
        "ImageNet: the file real.json of Beyer et al. 2020, to measure the error by its labels too; empty: without.",
    )

    @property
    def one_crop(self) -> dict[str, Any]:
        """The settings that decide the error of the centre crop."""
        return self.model_dump(include={"image_size", "shorter_side", "interpolation"})

    @model_validator(mode="after")
    def _views_differ(self) -> Evaluation:
        if len(set(self.views)) < len(self.views):
            raise ValueError(f"views names one view twice: {', '.join(self.views)}")
        return self

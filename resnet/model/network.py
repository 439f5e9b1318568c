"""ResNet v1 (He et al. 2015, "Deep Residual Learning for Image Recognition"), every depth on one page.

Departures from the paper, each the same for all depths:
- the shortcut is a projection (1x1 convolution) wherever the shape changes, for the CIFAR networks too (option B
  instead of A): about 3,000 more weights in ResNet-20;
- by default the input is divided by 255 and no mean is subtracted, as in the recipe being reproduced. Batch
  normalisation follows the first convolution, so the scale makes no difference except for epsilon.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import tensorflow as tf

from resnet.model.layers import EPSILON, BatchNorm, Conv, Dense, Replicas, Statistics, normalized, pad
from resnet.settings import Recipe

BASIC, BOTTLENECK = "basic", "bottleneck"
CLASSIFIER = "classifier"  # the name of the last layer
IMAGENET_DEPTHS: dict[int, tuple[str, tuple[int, ...]]] = {  # Table 1 of the paper: kind of block, blocks per stage
    18: (BASIC, (2, 2, 2, 2)),
    34: (BASIC, (3, 4, 6, 3)),
    50: (BOTTLENECK, (3, 4, 6, 3)),
    101: (BOTTLENECK, (3, 4, 23, 3)),
    152: (BOTTLENECK, (3, 8, 36, 3)),
}
IMAGENET_WIDTHS: tuple[int, ...] = (64, 128, 256, 512)
CIFAR_WIDTHS: tuple[int, ...] = (16, 32, 64)


class Block(tf.Module):
    """Two 3x3 convolutions (basic), or 1x1, 3x3, 1x1 with four times the width at the end (bottleneck).

    A bottleneck that halves the resolution does so in its first 1x1, as published, or in its 3x3 (`stride_in`).
    """

    def __init__(
        self,
        name: str,
        kind: str,
        inputs: int,
        width: int,
        stride: int,
        stride_in: str,
        epsilon: float,
        seed: int,
        zero_last_scale: bool = False,
    ):
        super().__init__()
        self.stage = layer_of(name)
        self.outputs = width if kind == BASIC else 4 * width
        if kind == BASIC:
            plan = [(3, width, stride), (3, width, 1)]
        else:
            first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
            plan = [(1, width, first), (3, width, second), (1, self.outputs, 1)]
        self.convs, self.norms = [], []
        channels = inputs
        for i, (kernel, outputs, step) in enumerate(plan, start=1):
            self.convs.append(Conv(f"{name}/conv{i}", channels, outputs, kernel, step, seed))
            scale = 0.0 if zero_last_scale and i == len(plan) else 1.0
            self.norms.append(BatchNorm(f"{name}/norm{i}", outputs, epsilon, scale))
            channels = outputs
        self.projection = None
        if stride != 1 or inputs != self.outputs:
            self.projection = Conv(f"{name}/projection", inputs, self.outputs, 1, stride, seed)
            self.projection_norm = BatchNorm(f"{name}/projection_norm", self.outputs, epsilon)

    def __call__(self, x: tf.Tensor, replicas: Replicas | None) -> tf.Tensor:
        shortcut = x if self.projection is None else self.projection_norm(self.projection(x), replicas)
        for conv, norm in zip(self.convs[:-1], self.norms[:-1], strict=True):
            x = tf.nn.relu(norm(conv(x), replicas))
        return tf.nn.relu(self.norms[-1](self.convs[-1](x), replicas) + shortcut)


def network_of(recipe: Recipe, classes: int) -> ResNet:
    """The recipe's network, with its initial weights."""
    model, training = recipe.model, recipe.training
    return ResNet(
        model.depth,
        classes,
        stride_in=model.stride_in,
        normalization=model.normalization,
        epsilon=model.epsilon,
        frozen=training.freeze,
        seed=training.seed,
        precision=training.precision,
        zero_last_scale=training.zero_last_scale,
    )


def layer_of(variable: str) -> str:
    """The layer that a variable, by its name, belongs to: "stem", "stage1" and so on, or "classifier"."""
    return variable.split("/")[0]


class ResNet(tf.Module):
    """A network of one of these depths, for square RGB images and `classes` classes.

    Training changes neither the weights nor the statistics of `frozen` layers: "stem", "stage1" and so on. With
    `zero_last_scale`, each block begins as its shortcut.
    """

    def __init__(
        self,
        depth: int,
        classes: int,
        *,
        stride_in: str = "1x1",
        normalization: str = "unit",
        epsilon: float = EPSILON,
        frozen: Collection[str] = (),
        seed: int = 0,
        precision: str = "float32",
        zero_last_scale: bool = False,
    ):
        super().__init__()
        self.depth, self.normalization, self.frozen = depth, normalization, frozenset(frozen)
        self.stride_in, self.epsilon = stride_in, epsilon
        self.precision = tf.as_dtype("float32" if precision == "tensorfloat32" else precision)
        self.for_imagenet = depth in IMAGENET_DEPTHS
        if self.for_imagenet:
            kind, blocks = IMAGENET_DEPTHS[depth]
            widths, stem = IMAGENET_WIDTHS, (7, 2)
        else:
            kind, blocks = BASIC, ((depth - 2) // 6,) * len(CIFAR_WIDTHS)
            widths, stem = CIFAR_WIDTHS, (3, 1)
        self.stem = Conv("stem/conv", 3, widths[0], *stem, seed)
        self.stem_norm = BatchNorm("stem/norm", widths[0], epsilon)
        self.blocks = []
        channels = widths[0]
        for stage, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
            for i in range(1, count + 1):
                stride = 2 if stage > 1 and i == 1 else 1
                name = f"stage{stage}/block{i}"
                block = Block(name, kind, channels, width, stride, stride_in, epsilon, seed, zero_last_scale)
                self.blocks.append(block)
                channels = block.outputs
        self.classifier = Dense(CLASSIFIER, channels, classes, seed)

    def __call__(self, images: tf.Tensor, training: bool, replicas: int = 1) -> tuple[tf.Tensor, Statistics]:
        """Logits (float32 [n, classes]) of uint8 images [n, size, size, 3].

        In training, also the mean and variance of this batch in each batch normalisation; otherwise an empty list.
        Where the batch is several `replicas`, each of so many images in turn has statistics of its own, and what is
        returned are the sums over the replicas.
        """
        together = Replicas(replicas)

        def of(layer: str) -> Replicas | None:
            return together if training and layer not in self.frozen else None

        x = tf.cast(normalized(images, self.normalization), self.precision)
        x = tf.nn.relu(self.stem_norm(self.stem(x), of("stem")))
        if self.for_imagenet:
            # 3x3, stride 2, one pixel around, as in torch. Zeros cannot win: after ReLU nothing is below them.
            x = tf.nn.max_pool2d(pad(x, 1), 3, 2, "VALID")
        for block in self.blocks:
            x = block(x, of(block.stage))
        return self.classifier(tf.reduce_mean(tf.cast(x, tf.float32), [1, 2])), together.statistics

    @property
    def settings(self) -> dict[str, int | float | str]:
        """The settings of [model] that these weights are for."""
        names = ("depth", "stride_in", "normalization", "epsilon")
        return {name: getattr(self, name) for name in names}

    @property
    def parameters(self) -> int:
        """How many numbers the network learns, statistics excepted; those of frozen layers count too."""
        return sum(math.prod(variable.shape) for variable in self.trainable_variables)

    @property
    def trained(self) -> list[tf.Variable]:
        """The variables that training changes by gradients: all weights but those of frozen layers."""
        return [variable for variable in self.trainable_variables if layer_of(variable.name) not in self.frozen]

    @property
    def norms(self) -> list[BatchNorm]:
        """The batch normalisations whose statistics training reports, in their order: those of layers not frozen."""
        norms = [] if "stem" in self.frozen else [self.stem_norm]
        for block in self.blocks:
            if block.stage not in self.frozen:
                norms += ([block.projection_norm] if block.projection else []) + block.norms
        return norms

    def named_variables(self) -> dict[str, tf.Variable]:
        """All variables, trained ones and statistics, by name: stage1/block1/conv1/kernel and so on."""
        return {variable.name.split(":")[0]: variable for variable in self.variables}

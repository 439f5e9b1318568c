"""ResNet v1 built from the papers with Keras' layers, as a reference for the project's network.

It shares nothing with the project but the names of the variables, by which the weights are copied.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

STAGES = {  # per stage: channels of the 3x3 convolutions, number of blocks; Table 1 and section 4.2 of He et al. 2015
    18: [(64, 2), (128, 2), (256, 2), (512, 2)],
    50: [(64, 3), (128, 4), (256, 6), (512, 3)],
    20: [(16, 3), (32, 3), (64, 3)],
}
KERAS_NAMES = {"scale": "gamma", "offset": "beta", "mean": "moving_mean", "variance": "moving_variance"}


class KerasReference:
    """A network with the given weights, named as in the project's network, such as stage1/block1/conv1/kernel.

    Tests that need a smooth network set `activation` to softplus.
    """

    def __init__(self, depth: int, stride_in: str, weights: dict[str, np.ndarray], size: int, activation: str = "relu"):
        images = keras.Input((size, size, 3), dtype="uint8")
        architecture = Architecture(depth, stride_in, classes=len(weights["classifier/bias"]), activation=activation)
        self._model = keras.Model(images, architecture.logits(layers.Rescaling(1 / 255)(images)))
        self._variables = {self._named(variable.path): variable for variable in self._model.variables}
        assert self._variables.keys() == weights.keys()
        for name, variable in self._variables.items():
            assert tuple(variable.shape) == weights[name].shape, name
            variable.assign(weights[name])

    def logits(self, images: np.ndarray, training: bool) -> np.ndarray:
        return self._model(images, training=training).numpy()

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Of the mean cross-entropy, in training mode, with respect to each trained variable."""
        variables = self._model.trainable_variables
        cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        with tf.GradientTape() as tape:
            loss = cross_entropy(labels, self._model(images, training=True))
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        return {self._named(v.path): g.numpy() for v, g in zip(variables, gradients, strict=True)}

    def norm_inputs(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The input of each batch normalisation in training mode, by its name (stem/norm)."""
        norms = [layer for layer in self._model.layers if isinstance(layer, layers.BatchNormalization)]
        inputs = keras.Model(self._model.input, [norm.input for norm in norms])(images, training=True)
        return {norm.name.replace(".", "/"): x.numpy() for norm, x in zip(norms, inputs, strict=True)}

    @staticmethod
    def _named(path: str) -> str:
        layer, variable = path.split("/")  # Keras allows no slash within a layer's name: stage1.block1.conv1/kernel
        project_names = {keras_name: name for name, keras_name in KERAS_NAMES.items()}
        return f"{layer.replace('.', '/')}/{project_names.get(variable, variable)}"


class Architecture:
    def __init__(self, depth: int, stride_in: str, classes: int, activation: str):
        self.depth, self.stride_in, self.classes, self.activation = depth, stride_in, classes, activation

    def logits(self, x):
        if self.depth == 20:
            x = self.activate(self.convolve(x, 16, 3, 1, "stem.conv", "stem.norm"))
        else:
            x = self.activate(self.convolve(x, 64, 7, 2, "stem.conv", "stem.norm"))
            x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))
        block = self.bottleneck if self.depth == 50 else self.basic_block
        for stage, (channels, blocks) in enumerate(STAGES[self.depth], start=1):
            for i in range(1, blocks + 1):
                x = block(x, channels, 2 if i == 1 and stage > 1 else 1, f"stage{stage}.block{i}")
        return layers.Dense(self.classes, name="classifier")(layers.GlobalAveragePooling2D()(x))

    def basic_block(self, x, channels: int, stride: int, name: str):
        y = self.activate(self.convolve(x, channels, 3, stride, f"{name}.conv1", f"{name}.norm1"))
        y = self.convolve(y, channels, 3, 1, f"{name}.conv2", f"{name}.norm2")
        return self.activate(layers.Add()([y, self.shortcut(x, channels, stride, name)]))

    def bottleneck(self, x, channels: int, stride: int, name: str):
        stride_of_1x1, stride_of_3x3 = {"1x1": (stride, 1), "3x3": (1, stride)}[self.stride_in]
        y = self.activate(self.convolve(x, channels, 1, stride_of_1x1, f"{name}.conv1", f"{name}.norm1"))
        y = self.activate(self.convolve(y, channels, 3, stride_of_3x3, f"{name}.conv2", f"{name}.norm2"))
        y = self.convolve(y, 4 * channels, 1, 1, f"{name}.conv3", f"{name}.norm3")
        return self.activate(layers.Add()([y, self.shortcut(x, 4 * channels, stride, name)]))

    def shortcut(self, x, channels: int, stride: int, name: str):
        if x.shape[-1] == channels and stride == 1:
            return x
        return self.convolve(x, channels, 1, stride, f"{name}.projection", f"{name}.projection_norm")

    def convolve(self, x, channels: int, kernel: int, stride: int, name: str, norm_name: str):
        """Convolution and batch normalisation."""
        if kernel > 1:
            x = layers.ZeroPadding2D({3: 1, 7: 3}[kernel])(x)
        x = layers.Conv2D(channels, kernel, stride, use_bias=False, name=name)(x)
        # Momentum 1: training mode does not change the moving statistics that were copied.
        return layers.BatchNormalization(momentum=1.0, epsilon=1e-5, name=norm_name)(x)

    def activate(self, x):
        return layers.Activation(self.activation)(x)

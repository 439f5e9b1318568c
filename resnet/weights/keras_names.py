"""The layouts of keras.applications' ResNet50, 101 and 152 (v1), with the names of today and of 2016.

Its networks see blue, green and red, so the stem's kernel is reversed here: ours see red, green and blue. Its
convolutions have a bias, which the batch normalisation after it takes into its mean.
"""

from __future__ import annotations

from collections.abc import Callable

from resnet.weights.layouts import Layout, Place, Settings, Table, Theirs, places

OF_NORM = {"scale": "gamma", "offset": "beta", "mean": "moving_mean", "variance": "moving_variance"}


def keras_table(depth: int) -> Table:
    """What a file has for each of our variables, with the names since 2019."""
    return _table(depth, "predictions", _layers)


def keras_2016_table(depth: int) -> Table:
    """The same with He et al.'s own names, which Keras used for its first ResNet50."""
    return _table(depth, "fc1000", _layers_of_2016)


def _table(depth: int, classifier: str, layers: Callable[[Place], tuple[str, str]]) -> Table:
    table = {name: Theirs(name.replace("classifier", classifier)) for name in ("classifier/kernel", "classifier/bias")}
    for place in places(depth):
        conv, norm = layers(place)
        table[f"{place.conv}/kernel"] = Theirs(f"{conv}/kernel", bgr=place.stage == 0)
        for ours, theirs in OF_NORM.items():
            bias = f"{conv}/bias" if ours == "mean" else ""
            table[f"{place.norm}/{ours}"] = Theirs(f"{norm}/{theirs}", minus=bias)
    return table


def _layers(place: Place) -> tuple[str, str]:
    """What Keras calls the convolution and the batch normalisation of a place."""
    name = f"conv{place.stage + 1}_block{place.block}_{place.number}" if place.stage else "conv1"
    return f"{name}_conv", f"{name}_bn"


def _layers_of_2016(place: Place) -> tuple[str, str]:
    if place.stage == 0:
        return "conv1", "bn_conv1"
    branch = f"branch2{'abc'[place.number - 1]}" if place.number else "branch1"
    name = f"{place.stage + 1}{'abcdef'[place.block - 1]}_{branch}"
    return f"res{name}", f"bn{name}"


def keras_settings(depth: int) -> Settings:
    """How keras.applications builds and feeds these networks."""
    return {"depth": depth, "stride_in": "1x1", "normalization": "caffe", "epsilon": 1.001e-5}


KERAS = Layout("Keras", (50, 101, 152), keras_table, keras_settings)
KERAS_2016 = Layout("Keras", (50,), keras_2016_table, keras_settings)

"""The layout of torchvision, which timm shares: OIHW kernels, layer1.0.conv1.weight and so on.

The same names serve ResNet-50 with other strides or with blurred pooling (timm's resnetblur50): a file does not tell.
"""

from __future__ import annotations

from collections.abc import Mapping

from resnet.model.network import IMAGENET_DEPTHS
from resnet.weights.layouts import Layout, Place, Settings, Stored, Table, Theirs, has_bottlenecks, places

OIHW_TO_HWIO = (2, 3, 1, 0)
OF_NORM = {"scale": "weight", "offset": "bias", "mean": "running_mean", "variance": "running_var"}
PARALLEL = "module."  # what DataParallel puts before each name
COUNTER = ".num_batches_tracked"  # of batch normalisations, for torch's own running averages


def torch_table(depth: int) -> Table:
    """What a file has for each of our variables."""
    table = {"classifier/kernel": Theirs("fc.weight", (1, 0)), "classifier/bias": Theirs("fc.bias")}
    for place in places(depth):
        conv, norm = _layers(place)
        table[f"{place.conv}/kernel"] = Theirs(f"{conv}.weight", OIHW_TO_HWIO)
        for ours, theirs in OF_NORM.items():
            table[f"{place.norm}/{ours}"] = Theirs(f"{norm}.{theirs}")
    return table


def _layers(place: Place) -> tuple[str, str]:
    """What torchvision calls the convolution and the batch normalisation of a place."""
    block = f"layer{place.stage}.{place.block - 1}." if place.stage else ""
    if place.number == 0:
        return f"{block}downsample.0", f"{block}downsample.1"
    return f"{block}conv{place.number}", f"{block}bn{place.number}"


def torch_settings(depth: int) -> Settings:
    """How torchvision and timm build and feed these networks; their bottlenecks are "v1.5"."""
    settings: Settings = {"depth": depth, "normalization": "torch", "epsilon": 1e-5}
    return settings | {"stride_in": "3x3"} if has_bottlenecks(depth) else settings


def plain_names(stored: Mapping[str, Stored]) -> dict[str, Stored]:
    """A state dict without what is not of the network: DataParallel's prefix, and counters of batches."""
    prefix = PARALLEL if all(name.startswith(PARALLEL) for name in stored) else ""
    return {name.removeprefix(prefix): value for name, value in stored.items() if not name.endswith(COUNTER)}


TORCH = Layout("torchvision or timm", tuple(IMAGENET_DEPTHS), torch_table, torch_settings)

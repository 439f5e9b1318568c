"""Records the logits of torchvision's and timm's ResNet-18 and 50, for tests that need none of these packages.

    python tests/weights/torchvision_logits.py       (where torch, torchvision and timm are installed)

writes torchvision_logits.json beside it: the versions, the names and shapes of the state dict, and the logits. The
weights and images are not in it, because anyone can make them: they follow from the names of the tensors alone
(`numbers`), by NumPy's RandomState, whose streams never change.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np

RECORD = Path(__file__).with_suffix(".json")
CLASSES, SIZE = 7, 64
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def numbers(name: str, shape: list[int]) -> np.ndarray:
    """Float32 numbers for a tensor of this name, such that activations neither grow nor vanish with depth."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        made = random.uniform(0.5, 2, shape)
    elif len(shape) == 1 and name.endswith("weight"):
        made = random.uniform(0.3, 1, shape)
    elif len(shape) == 1:
        made = 0.1 * random.standard_normal(shape)
    else:
        made = random.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
    return made.astype(np.float32)


def images() -> np.ndarray:
    """Two images, uint8 RGB [2, 64, 64, 3]: noise with a colour of its own each."""
    random = np.random.RandomState(zlib.crc32(b"images"))
    return (random.randint(0, 128, (2, SIZE, SIZE, 3)) + random.randint(0, 128, (2, 1, 1, 3))).astype(np.uint8)


def photograph() -> np.ndarray:
    """An image of odd size, uint8 RGB [241, 301, 3]: coloured squares with noise, so that each resize differs."""
    random = np.random.RandomState(zlib.crc32(b"photograph"))
    squares = np.repeat(np.repeat(random.randint(0, 192, (25, 31, 3)), 10, 0), 10, 1)[:241, :301]
    return (squares + random.randint(0, 64, squares.shape)).astype(np.uint8)


def with_numbers(network):
    """A network of torch whose weights are replaced by `numbers`."""
    import torch

    made = {
        name: torch.from_numpy(numbers(name, list(tensor.shape)))
        for name, tensor in network.state_dict().items()
        if tensor.is_floating_point()
    }
    network.load_state_dict(made, strict=False)
    return network.eval()


def torchvision_logits(network) -> np.ndarray:
    """The logits of a torchvision network for `images`."""
    import torch

    pixels = torch.from_numpy(images()).permute(0, 3, 1, 2) / 255
    normalized = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)
    with torch.inference_mode():
        return network(normalized).numpy()


def logits_of_the_photograph() -> dict[str, list[float]]:
    """By the recipe that has the same view: what each package makes of `photograph`, with its own preprocessing."""
    import timm
    import torch
    import torchvision.models as models
    from PIL import Image

    timm_config = timm.data.resolve_data_config(timm.models.get_pretrained_cfg("resnet50.a1_in1k").to_dict())
    plans = {
        "torchvision-resnet18-v1": (models.resnet18, models.ResNet18_Weights.IMAGENET1K_V1.transforms()),
        "torchvision-resnet50-v2": (models.resnet50, models.ResNet50_Weights.IMAGENET1K_V2.transforms()),
        "timm-resnet50-a1": (timm.models.resnet50, timm.data.create_transform(**timm_config, is_training=False)),
    }
    found = {}
    for recipe, (make, transform) in plans.items():
        with torch.inference_mode():
            pixels = transform(Image.fromarray(photograph()))
            found[recipe] = with_numbers(make(num_classes=CLASSES))(pixels[None])[0].double().tolist()
    return found


def record() -> None:
    import timm
    import torch
    import torchvision

    versions = {package.__name__: package.__version__ for package in (torch, torchvision, timm)}
    record = versions | {"networks": {}, "photograph": logits_of_the_photograph()}
    for depth in (18, 50):
        network = getattr(torchvision.models, f"resnet{depth}")(num_classes=CLASSES)
        shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
        logits = torchvision_logits(with_numbers(network)).astype(float).tolist()
        record["networks"][depth] = {"shapes": shapes, "logits": logits}
    RECORD.write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    record()

"""Records the logits of torchvision's ResNet-18 and 50, for a test that needs neither torch nor torchvision.

    python tests/weights/torchvision_logits.py       (where torch and torchvision are installed)

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


def torchvision_logits(network) -> np.ndarray:
    """The logits of a torchvision network for `images`, after its weights are replaced by `numbers`."""
    import torch

    made = {
        name: torch.from_numpy(numbers(name, list(tensor.shape)))
        for name, tensor in network.state_dict().items()
        if tensor.is_floating_point()
    }
    network.load_state_dict(made, strict=False)
    pixels = torch.from_numpy(images()).permute(0, 3, 1, 2) / 255
    normalized = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)
    with torch.inference_mode():
        return network.eval()(normalized).numpy()


def record() -> None:
    import torch
    import torchvision

    record = {"torch": torch.__version__, "torchvision": torchvision.__version__, "networks": {}}
    for depth in (18, 50):
        network = getattr(torchvision.models, f"resnet{depth}")(num_classes=CLASSES)
        shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
        record["networks"][depth] = {"shapes": shapes, "logits": torchvision_logits(network).astype(float).tolist()}
    RECORD.write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    record()

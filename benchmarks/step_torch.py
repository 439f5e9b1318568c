"""PyTorch's training step: torchvision's ResNet, channels last, with autocast, and compiled where asked."""

from __future__ import annotations

from typing import Any

import torch
from step_task import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, LeftOut, StepTask
from torch.nn.functional import cross_entropy

HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class TorchStep:
    def __init__(self, task: list[Any], compiled: bool):
        task = StepTask(*task)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = task.precision == "tensorfloat32"
        torch.backends.cudnn.benchmark = not task.deterministic
        torch.use_deterministic_algorithms(task.deterministic)
        model, versions = made_model(task)
        model = model.to(self._device, memory_format=torch.channels_last)
        self._optimizer = torch.optim.SGD(
            model.parameters(), LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )
        self._model = torch.compile(model) if compiled else model
        self._half = HALVES.get(task.precision)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=task.precision == "float16")
        images, labels = task.load()
        images = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).to(self._device)
        self._images = images.contiguous(memory_format=torch.channels_last)
        self._labels = torch.from_numpy(labels).long().to(self._device)
        name = torch.cuda.get_device_name() if self._device.type == "cuda" else f"CPU ({torch.get_num_threads()} cores)"
        self.facts = {"versions": versions, "device": name}

    def run(self, steps: int) -> dict[str, float]:
        for _ in range(steps):
            loss, errors = self._step()
        return {"loss": loss.item(), "top5_error": errors[1].item()}  # reading them waits for the device

    def _step(self) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self._device.type, self._half, enabled=self._half is not None):
            logits = self._model(self._images)
            loss = cross_entropy(logits, self._labels)
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss.detach(), self._errors(logits.detach())

    def _errors(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Top-1 and top-5 error in percent, as every other contender counts them."""
        found = logits.topk(5).indices == self._labels[:, None]
        return 100 - 100 * found[:, 0].float().mean(), 100 - 100 * found.any(1).float().mean()


def made_model(task: StepTask) -> tuple[torch.nn.Module, str]:
    """The network, and the versions that it is made with. torchvision has the stride of a bottleneck in its 3x3
    convolution; where the task has it in the first 1x1, the two are exchanged."""
    try:
        import torchvision
    except RuntimeError as error:  # another version than PyTorch's
        raise LeftOut(f"torchvision cannot be imported: {error}") from None
    make = getattr(torchvision.models, f"resnet{task.depth}", None)
    if make is None:
        raise LeftOut(f"torchvision has no ResNet-{task.depth}")
    model = make(num_classes=task.classes)
    if task.stride_in == "1x1" and task.depth >= 50:
        for module in model.modules():
            if isinstance(module, torchvision.models.resnet.Bottleneck):
                module.conv1.stride, module.conv2.stride = module.conv2.stride, module.conv1.stride
    return model, f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}"

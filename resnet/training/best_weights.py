"""Keeps the weights of the epoch with the lowest validation error, in a file that says which epoch that was."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from resnet.errors import UserError
from resnet.model.network import ResNet
from resnet.weights.safetensors_files import write_weights
from resnet.weights.tensor_files import read_tensors

logger = logging.getLogger(__name__)

VALIDATION_ERROR = "validation_top1_error"  # in the facts of the file, in percent, as in the log


class BestWeights:
    """Replaces the file when an error is lower than that in its header, which an earlier attempt may have written."""

    def __init__(self, path: Path, network: ResNet, classes: Sequence[tuple[str, str]]):
        self.path, self._network, self._classes = path, network, classes
        self._lowest = math.inf
        try:
            if path.exists():
                self._lowest = read_tensors(path)[1].get(VALIDATION_ERROR, math.inf)
        except UserError as problem:
            logger.warning("%s; the next weights count as the best", str(problem).rstrip("."))

    def offer(self, step: int, error: float) -> None:
        """Keep the network's weights if their error, in percent, is lower. A full disk does not stop training."""
        if error >= self._lowest:
            return
        try:
            write_weights(self.path, self._network, self._classes, {"step": step, VALIDATION_ERROR: error})
            self._lowest = error
        except OSError as problem:
            logger.warning("%s cannot be written (%s); training goes on", self.path, problem.strerror)

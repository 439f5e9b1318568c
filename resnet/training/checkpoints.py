"""Checkpoints: all the state that a resumed training needs, in files that are complete or not there.

That is weights, momentum, moving statistics and the step. Sampling order and augmentation are pure functions of the
seed and the step.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from resnet.errors import UserError
from resnet.files import make_folder
from resnet.model.network import ResNet
from resnet.weights.safetensors_files import assign, read_facts, read_tensors, values, write_tensors

logger = logging.getLogger(__name__)

NEWEST = 3  # checkpoints that are kept, besides those of the epochs asked for


class Checkpoints:
    """`variables`: all state by name, the network's and the optimizer's."""

    def __init__(self, folder: Path, network: ResNet, optimizer_state: Mapping[str, tf.Variable]):
        self._folder = folder
        self.variables = {f"weights/{name}": variable for name, variable in network.named_variables().items()}
        self.variables |= optimizer_state
        make_folder(folder)

    def save(self, step: int, *, keep: bool = False) -> Path:
        """Write the state after `step` steps, and delete older ones, except those saved with `keep`."""
        state = values(self.variables)
        if odd := [name for name, value in state.items() if not np.isfinite(value).all()]:
            raise UserError(
                f"{odd[0]} is not finite at step {step} ({len(odd)} such variables); the checkpoint before it is "
                "kept. Lower training.learning_rate, and look at the images and labels."
            )
        write_tensors(self._path(step), state, {"step": str(step), "keep": "yes" if keep else "no"})
        for old in self.steps()[:-NEWEST]:
            if read_facts(self._path(old)).get("keep") == "no":  # neither asked for nor unreadable
                self._path(old).unlink()
        return self._path(step)

    def restore_newest(self) -> int:
        """Load the newest complete checkpoint; returns the steps done. 0 when there is none: training starts.

        Raises UserError when there are checkpoints and none can be read: days of training must not be lost silently.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                tensors, facts = read_tensors(self._path(step))
            except UserError as error:
                logger.warning("%s; using the checkpoint before it", error)
                continue
            assign(self.variables, tensors, self._path(step))
            return int(facts["step"])
        if steps:
            raise UserError(f"none of the checkpoints in {self._folder} can be read. Move them away to start again.")
        return 0

    def steps(self) -> list[int]:
        """The steps that there are checkpoints of, in rising order."""
        found = (re.fullmatch(r"step-(\d{8,})\.safetensors", path.name) for path in self._folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:08d}.safetensors"

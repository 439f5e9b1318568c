"""Checkpoints: all that a resume needs, in files that are whole or not there.

What decides the rest of a training run is its weights, momentum, moving statistics and step: order and augmentation
of the images are pure functions of the seed and the step.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from resnet.errors import UserError
from resnet.files import make_folder
from resnet.model.network import ResNet
from resnet.weights import assign, read_facts, read_tensors, values, write_tensors

NEWEST = 3  # checkpoints that are kept, beside those of the epochs asked for


class Checkpoints:
    def __init__(self, folder: Path, network: ResNet, momentum: list[tf.Variable]):
        self._folder = folder
        self._variables = {f"weights/{name}": variable for name, variable in network.named_variables().items()}
        self._variables |= {f"momentum/{variable.name.split(':')[0]}": variable for variable in momentum}
        make_folder(folder)

    def save(self, step: int, *, keep: bool = False) -> Path:
        """Write the state after `step` steps; older ones go, but for those saved with `keep`."""
        state = values(self._variables)
        if odd := [name for name, value in state.items() if not np.isfinite(value).all()]:
            raise UserError(
                f"{odd[0]} is no number any more at step {step} ({len(odd)} such variables); the checkpoint before "
                "is kept. A lower training.learning_rate helps; so does looking at the images and labels."
            )
        write_tensors(self._path(step), state, {"step": str(step), "keep": "yes" if keep else "no"})
        for old in self.steps()[:-NEWEST]:
            if read_facts(self._path(old)).get("keep") == "no":  # neither asked for nor unreadable
                self._path(old).unlink()
        return self._path(step)

    def restore_newest(self) -> int:
        """Load the newest whole checkpoint; returns the steps done. 0 when there is none: training starts anew.

        Raises UserError when there are checkpoints and none is whole: days of training are not thrown away silently.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                tensors, facts = read_tensors(self._path(step))
            except UserError as error:
                print(f"train: {error}; taking the one before", file=sys.stderr)
                continue
            assign(self._variables, tensors, self._path(step))
            return int(facts["step"])
        if steps:
            raise UserError(f"none of the checkpoints in {self._folder} can be read. Move them away to start anew.")
        return 0

    def steps(self) -> list[int]:
        """The steps that there are checkpoints of, rising."""
        found = (re.fullmatch(r"step-(\d{8,})\.safetensors", path.name) for path in self._folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:08d}.safetensors"

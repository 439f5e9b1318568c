"""Checkpoints: all the state that a resumed training needs, in files that are complete or not there.

That is weights, momentum, moving statistics, the step, which records are known to be corrupt, and which trained weights
it started from. Sampling order and augmentation are pure functions of the seed and the step.

A checkpoint that is not as it was written (see the SHA-256 in `resnet.weights.safetensors_files`) is put aside under
another name and reported, never used and never deleted.
"""

from __future__ import annotations

import itertools
import logging
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from resnet.errors import UserError
from resnet.files import kind_of, make_folder
from resnet.model.network import ResNet
from resnet.training.checkpoint_files import NEWEST, checkpoint_path, checkpoint_steps
from resnet.training.schedule import Schedule
from resnet.weights.safetensors_files import assign, values
from resnet.weights.safetensors_header import read_facts
from resnet.weights.tensor_files import UnreadableTensors, read_tensors, write_tensors

logger = logging.getLogger(__name__)


class Checkpoints:
    """`variables`: all state by name, the network's and the step's. Each checkpoint also has two facts about the
    run: `corrupt`, its corrupt records, and `started_from`, the trained weights that it started from, if it did."""

    def __init__(self, folder: Path, network: ResNet, step_state: Mapping[str, tf.Variable]):
        self._folder = folder
        self._weights = {f"weights/{name}": variable for name, variable in network.named_variables().items()}
        self.variables = self._weights | dict(step_state)
        self.corrupt: Iterable[str] = ()
        self.started_from: Mapping[str, Any] = {}
        make_folder(folder)

    def save(self, step: int, *, keep: bool = False) -> Path:
        """Write the state after `step` steps, and delete older ones, except the newest and those saved with `keep`."""
        state = values(self.variables)
        if odd := [name for name, value in state.items() if not np.isfinite(value).all()]:
            raise UserError(
                f"{odd[0]} is not finite at step {step} ({len(odd)} such variables); the checkpoint before it is "
                "kept. Lower training.learning_rate, and look at the images and labels."
            )
        older = [earlier for earlier in self.steps() if earlier < step]
        try:
            write_tensors(self._path(step), state, self._facts(step, keep))
        except OSError as error:
            start = f"{self._path(older[-1]).name}, which is kept" if older else "step 0"
            raise kind_of(error)(
                f"the checkpoint of step {step} cannot be written to {self._folder}: {error.strerror}. Make room, or "
                f"repair the disk. The same command continues from {start}."
            ) from None
        self._prune(older)
        return self._path(step)

    def _facts(self, step: int, keep: bool) -> dict[str, Any]:
        facts = {"step": step, "keep": keep, "corrupt": list(self.corrupt)}
        return facts | ({"started_from": dict(self.started_from)} if self.started_from else {})

    def _prune(self, older: Sequence[int]) -> None:
        """Delete the checkpoints before the one just written, except the newest and those to keep."""
        try:
            readable = {}
            for step in older:
                if facts := read_facts(self._path(step)):
                    readable[step] = facts
                else:
                    name = self._put_aside(self._path(step))
                    logger.warning("%s cannot be read; it is now %s", self._path(step), name)
            for step in list(readable)[: 1 - NEWEST]:
                if not _is_kept(readable[step]):
                    self._path(step).unlink()
        except OSError as error:
            logger.warning("older checkpoints in %s cannot be deleted: %s", self._folder, error)

    def restore_newest(self) -> int:
        """Load the newest complete checkpoint; returns the steps done. 0 when there is none: training starts.

        Raises UserError when there are checkpoints and none can be read: days of training must not be lost silently.
        """
        for step in reversed(self.steps()):
            try:
                self.restore(step)
            except UnreadableTensors as error:
                aside = self._put_aside(self._path(step))
                logger.warning("%s; it is now %s, and the checkpoint before it is used", error, aside)
                continue
            return step
        if any(self._folder.glob("*.unreadable*")):
            raise UserError(
                f"none of the checkpoints in {self._folder} can be read: see its *.unreadable files. Move them away to "
                "start again."
            )
        return 0

    def restore(self, step: int) -> None:
        """Load the checkpoint of this step. Raises UnreadableTensors."""
        path = self._path(step)
        tensors, facts = read_tensors(path)
        if str(facts.get("step")) != str(step):
            raise UnreadableTensors(f"{path} is the checkpoint of step {facts.get('step')}, says its header")
        assign(self.variables, tensors, path)
        self.corrupt = list(facts.get("corrupt", []))
        self.started_from = facts.get("started_from", {})

    def require_space(self, done: int, schedule: Schedule) -> None:
        """Raise UserError unless the disk has room for the checkpoints that are still to come, and the weights."""
        existing = sum(not _is_kept(read_facts(self._path(step))) for step in self.steps())
        to_keep = sum(
            schedule.epochs_done(done) < epoch <= schedule.training.epochs
            for epoch in set(schedule.training.keep_epochs)
        )
        count = max(NEWEST - existing, 0) + 1 + to_keep if done < schedule.steps else 0
        needed = count * _bytes(self.variables) + _bytes(self._weights)
        free = shutil.disk_usage(self._folder).free
        if needed > free:
            remedy = ", or keep fewer epochs (training.keep_epochs)" if to_keep else ""
            raise UserError(
                f"training needs {math.ceil(needed / 1e6):,} MB for checkpoints and weights in {self._folder}, and its "
                f"disk has {free // 10**6:,} MB free. Make room, or give another folder with --artifacts{remedy}."
            )

    def steps(self) -> list[int]:
        """The steps that there are checkpoints of, in rising order."""
        return checkpoint_steps(self._folder)

    def _path(self, step: int) -> Path:
        return checkpoint_path(self._folder, step)

    def _put_aside(self, path: Path) -> str:
        """Rename an unreadable checkpoint; returns its new name."""
        names = (f"{path.name}.unreadable{number or ''}" for number in itertools.count())
        aside = next(aside for name in names if not (aside := path.with_name(name)).exists())
        path.rename(aside)
        return aside.name


class ChiefsCheckpoints(Checkpoints):
    """The checkpoints as the other hosts see them: they read them, and leave the writing to the chief."""

    def save(self, step: int, *, keep: bool = False) -> Path:
        return self._path(step)

    def restore(self, step: int) -> None:
        try:
            super().restore(step)
        except UnreadableTensors as error:
            raise UserError(
                f"this host cannot read the checkpoint that host 0 continues from: {error}. All hosts need the same "
                "--artifacts folder, on a disk that they share."
            ) from None


def _is_kept(facts: Mapping[str, object]) -> bool:
    return facts.get("keep") in (True, "yes")  # earlier versions wrote text


def _bytes(variables: Mapping[str, tf.Variable]) -> int:
    """The size of a file of them; 200 bytes hold a name and where its numbers are."""
    return sum(math.prod(variable.shape) * variable.dtype.size + 200 for variable in variables.values())

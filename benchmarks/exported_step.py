"""The files of an exported training step (see `step_export`), read without TensorFlow, without JAX."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load_file
from step_task import SEED, StepTask, made_batch

from resnet.checked_json import read_json
from resnet.errors import UserError
from resnet.files import sha256

MODULE, STATE, AFTER, DESCRIPTION = "step.stablehlo", "state.safetensors", "after.safetensors", "step.json"
INPUTS = ("images", "labels", "learning_rate")  # the arguments before the state
# The result that replaces no argument: loss, top-1 and top-5 error, float32 [3]; in float16, two more.
METRICS = "metrics"
REQUIRED = {"arguments", "results", "step", "tensorflow", "stablehlo", "platform", "sha256"}


class ExportedStep(NamedTuple):
    """An export whose files are as they were written."""

    folder: Path
    description: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> ExportedStep:
        """Raises UserError for an export that is missing, incomplete or changed. The state may be missing."""
        remedy = f"Write it with: python benchmarks/train_step.py --export {folder}"
        description = read_json(folder / DESCRIPTION, REQUIRED, remedy)
        if description is None:
            raise UserError(f"{folder} has no {DESCRIPTION}, so it is no exported step. {remedy}")
        for name, digest in description["sha256"].items():
            path = folder / name
            if not path.exists() and name == MODULE:
                raise UserError(f"{path} is missing. {remedy}")
            if path.exists() and sha256(path) != digest:
                raise UserError(f"{path} is not as it was written: its SHA-256 differs. {remedy}")
        return cls(folder, description)

    @property
    def task(self) -> StepTask:
        return StepTask(**self.description["step"])

    @property
    def module(self) -> bytes:
        """StableHLO, as a portable artifact."""
        return (self.folder / MODULE).read_bytes()

    @property
    def replaces(self) -> dict[int, int]:
        """Which argument each result but the metrics replaces, by their numbers."""
        results = self.description["results"]
        return {i: result["replaces"] for i, result in enumerate(results) if "replaces" in result}

    @property
    def metrics(self) -> int:
        """The number of the result that the metrics are."""
        return [result["name"] for result in self.description["results"]].index(METRICS)

    def state(self) -> list[np.ndarray]:
        """The arguments after INPUTS, before the first step. Raises UserError where the file is missing."""
        path = self.folder / STATE
        if not path.exists():
            raise UserError(
                f"{path} is missing. Copy it here too, or time the step on made numbers with --made-state: its speed "
                "does not depend on them."
            )
        tensors = load_file(path)
        return [tensors[argument["name"]] for argument in self._state_arguments]

    def made_state(self) -> list[np.ndarray]:
        """Likewise, made of normal numbers with the mean and deviation of each argument: for large networks, whose
        state need not be copied to another machine only to measure there."""
        random = np.random.default_rng(SEED)
        return [
            (one["mean"] + one["deviation"] * random.standard_normal(one["shape"])).astype(one["dtype"])
            for one in self._state_arguments
        ]

    @property
    def _state_arguments(self) -> list[dict[str, Any]]:
        return self.description["arguments"][len(INPUTS) :]

    def expected(self) -> tuple[dict[str, np.ndarray], int, tuple[np.ndarray, np.ndarray]]:
        """TensorFlow's state and metrics after some steps, how many, and the batch that they were taken on. Raises
        UserError for an export without."""
        if "check" not in self.description or not (self.folder / AFTER).exists():
            raise UserError(f"{self.folder} has no state to compare with: export it with --check-steps 3")
        check = self.description["check"]
        images, labels = made_batch(self.task.batch, self.task.size, self.task.classes)
        if hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest() != check["batch"]:
            raise UserError("this version of NumPy makes another batch than the exported step was checked with")
        return load_file(self.folder / AFTER), check["steps"], (images, labels)

"""The trained weights that Train starts from, a file or those of another run: see `training.start_from`.

Their content is an input of the stage, and their place is not. Weights that are gone count as unchanged, as images do
that cannot be seen: a finished training needs them no more, nor does one that resumes from a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from resnet.checked_json import Corrupt
from resnet.errors import UserError
from resnet.files import sha256
from resnet.ledger.state_files import read_state
from resnet.run import A_FILE, Run, is_weights_file, luigi_command, nearest_run, unfinished_weights

INPUT = "start_from"  # its name among the inputs in stage.json, where its digest is, and beside them, where its name is
RANDOM = "random weights"


@dataclass(frozen=True)
class StartingPoint:
    """`file`: the weights. `run`: the name of the run that has ended with them; empty: they are no run's."""

    artifacts: Path
    file: Path
    run: str = ""

    @classmethod
    def of(cls, run: Run) -> StartingPoint | None:
        """None where training starts from random weights."""
        start_from = run.recipe.training.start_from
        if not start_from:
            return None
        if is_weights_file(start_from):
            return cls(run.artifacts, Path(start_from))
        return cls(run.artifacts, run.artifacts / "runs" / start_from / "batchnorm" / "weights.safetensors", start_from)

    def __str__(self) -> str:
        return f"run {self.run}" if self.run else str(self.file)

    def digest(self, earlier: dict[str, Any] | None = None) -> str | None:
        """The SHA-256 of the weights: the file's, or what the run has recorded of its file.

        While it cannot be seen, that of an earlier attempt (stage.json or begun.json) that started from the same place.
        """
        try:
            if not self.run and self.file.is_file():  # a pipe would keep us waiting
                state = self.file.stat()
                return _sha256(self.file, state.st_size, state.st_mtime_ns)
            if self.run and (record := self._record()):
                return record["outputs"][self.file.name]["sha256"]
        except (OSError, ValueError, KeyError, Corrupt):  # ValueError: a name with a zero byte
            pass
        return earlier["inputs"].get(INPUT) if earlier and earlier.get(INPUT) == str(self) else None

    def require(self) -> None:
        """Raise UserError where the weights are not there, or cannot be read."""
        if self.run and not self._folder.is_dir():
            raise UserError(
                f"training.start_from: {self.run!r} is neither {A_FILE} nor the name of a run in "
                f"{self.artifacts / 'runs'}{nearest_run(self.artifacts, self.run) or '.'}"
            )
        if self.run and self._record() is None:
            raise UserError(f"training.start_from: {unfinished_weights(self._folder)}")
        if not (reason := self._why_unreadable()):
            return
        way_on = f"Make it again: {self._command}" if self.run else f"Give {A_FILE} or the name of a run."
        raise UserError(f"training.start_from: {self.file} cannot be read: {reason}. {way_on}")

    def require_same(self, digest: str, begun: Mapping[str, Any]) -> None:
        """Raise UserError if the bytes that were read, of this SHA-256, are not those that the stage began with, as
        its begun.json says."""
        if digest == begun["inputs"][INPUT]:
            return
        if self.run and self.digest() == begun["inputs"][INPUT]:
            raise UserError(
                f"{self.file} is corrupt: it differs from what batchnorm wrote. Delete it, and make it again: "
                f"{self._command}"
            )
        raise UserError(f"{self.file} has just changed. Run the same command again.")

    def _why_unreadable(self) -> str:
        """Empty where the file can be read."""
        try:
            if self.file.exists() and not self.file.is_file():
                return "it is not a file"
            with open(self.file, "rb"):
                return ""
        except (OSError, ValueError) as error:
            return getattr(error, "strerror", None) or str(error)

    def _record(self) -> dict[str, Any] | None:
        return read_state(self.file.with_name("stage.json"))

    @property
    def _folder(self) -> Path:
        """The run's."""
        return self.artifacts / "runs" / self.run

    @property
    def _command(self) -> str:
        """Which makes a run's weights."""
        return luigi_command("BatchNormStatistics", self._folder)


def difference(start: StartingPoint | None, earlier: dict[str, Any]) -> list[str]:
    """Why an earlier attempt (stage.json or begun.json) started from other weights: a reason, or none."""
    was, now = earlier.get(INPUT, RANDOM), str(start or RANDOM)
    recorded = earlier["inputs"].get(INPUT)
    if recorded == (start.digest(earlier) if start else None) and (recorded or not start):
        return []
    if was == now:
        return [f"training.start_from has changed since: {now}"]
    return [f"training.start_from was {was}, now {now}"]


@lru_cache(maxsize=16)
def _sha256(path: Path, size: int, changed_ns: int) -> str:
    """Once per process: Luigi asks whether a stage is complete again and again."""
    return sha256(path)

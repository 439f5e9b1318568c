"""A run: a recipe, where its images are, and where its artifacts go. Names and folders, no work."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from resnet.errors import UserError
from resnet.processes import cores
from resnet.recipes import load_recipe
from resnet.settings import Recipe


@dataclass(frozen=True)
class Machine:
    """Where and how fast a stage runs. It never affects results, so it never makes a finished stage stale."""

    workers: int = field(default_factory=cores)
    devices: int = 0  # 0: every GPU, or the CPU where there is none
    cpu_devices: int = 1  # logical devices to split the CPU into, to try a distributed recipe without GPUs


@dataclass(frozen=True, eq=False)
class Run:
    """One experiment, as every stage of it sees it."""

    name: str
    recipe: Recipe
    recipe_name: str
    artifacts: Path
    data: Path | None = None
    machine: Machine = Machine()

    @classmethod
    def of(
        cls,
        recipe: str,
        overrides: Sequence[str] = (),
        *,
        name: str = "",
        artifacts: str | Path = "artifacts",
        data: str | Path = "",
        machine: Machine | None = None,
    ) -> Run:
        """Resolve what the command line and luigi.cfg say. Raises UserError for a value that cannot be used."""
        recipe_name, settings = load_recipe(recipe, overrides)
        name = name or re.sub(r"[^A-Za-z0-9._-]+", "-", recipe_name).strip(".-") or "run"
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise UserError(f"--run {name!r}: use letters, digits, '.', '_' and '-' only")
        root = Path(data).expanduser().absolute() if data else None
        folder = Path(artifacts).expanduser().absolute()
        return cls(name, settings, recipe_name, folder, root, machine or Machine())

    @cached_property
    def records_name(self) -> str:
        """The data set's name: the recipe's, or else the data folder's, or else the source's."""
        dataset = self.recipe.dataset
        if dataset.name:
            return dataset.name
        return (re.sub(r"[^A-Za-z0-9._-]+", "-", self.data.name).strip(".-") if self.data else "") or dataset.source

    @property
    def records(self) -> Path:
        """The folder of the data set's records, which runs share."""
        return self.artifacts / "records" / self.records_name

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return self.artifacts / "runs" / self.name

    def stage_folder(self, stage: str) -> Path:
        """The folder that a stage writes."""
        return self.records if stage == "convert" else self.folder / stage

"""A run: a recipe, where its images are, and where its artifacts go. Names and folders, no work."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from resnet.checked_json import corrupt, read_json, write_json
from resnet.errors import UserError
from resnet.files import atomic, make_folder, remove_leftovers, sha256
from resnet.processes import cores
from resnet.recipes import load_recipe
from resnet.settings import Recipe
from resnet.stage_table import stage_named

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"  # of a run: a plain folder name
WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".h5", ".keras")  # how the names of files of weights end
ALIKE = 0.5  # what names have in common, from 0 to 1, of which one may be meant for the other
SLIP = 0.75  # likewise, of which one is most likely mistyped
A_FILE = f"a file (with a {os.sep} in it, or ending in {', '.join(WEIGHTS)})"
OWN_IMAGES = "digits"  # the source of images that needs no folder
TO_BE_SAID = "?"  # training.start_from of a recipe that needs weights and cannot know which


@dataclass(frozen=True)
class Machine:
    """Where and how fast a stage runs. It never affects results, so it never makes a finished stage stale."""

    workers: int = field(default_factory=cores)
    devices: int = 0  # 0: every GPU, or the CPU where there is none
    cpu_devices: int = 1  # logical devices to split the CPU into, to try a distributed recipe without GPUs
    replicas_at_once: int = 0  # replicas of the recipe that a device runs in one pass; 0: as many as its memory holds
    step_minutes: float = 30.0  # that a training step may take, before training stops for being stalled; 0: any time


@dataclass(frozen=True, eq=False)
class Run:
    """One experiment, as every stage of it sees it."""

    name: str
    recipe: Recipe
    recipe_name: str
    artifacts: Path
    data: Path | None = None
    machine: Machine = Machine()
    discard: frozenset[str] = frozenset()  # stages whose results may be displaced, with all that depends on them
    note: str = ""  # what the user should know about where the settings come from

    @classmethod
    def of(
        cls,
        recipe: str = "",
        overrides: Sequence[str] = (),
        *,
        name: str = "",
        artifacts: str | Path = "artifacts",
        data: str | Path = "",
        machine: Machine | None = None,
        discard: Iterable[str] = (),
        default_recipe: str = "digits",
    ) -> Run:
        """Resolve what the command line and luigi.cfg say. Raises UserError for a value that cannot be used.

        Without a recipe, a run that exists goes on with the recipe and the data folder that it has stored, and a new
        one takes `default_recipe`, unless its name looks like a slip of the pen for that of another run.
        """
        if name and not re.fullmatch(NAME, name):
            raise UserError(f"--run {name!r}: use letters, digits, '.', '_' and '-' only")
        folder = Path(artifacts).expanduser().absolute()
        is_named, name = bool(name), name or _run_name(Path(recipe or default_recipe).stem)
        stored = _Stored.of(folder / "runs" / name)
        own = None if recipe else stored
        if own:
            own.check()
            recipe_name, settings = own.recipe_name, own.settings(overrides)
        else:
            recipe_name, settings = load_recipe(recipe or default_recipe, overrides)
        data = data or (stored.data if stored else "")
        note = own.note(settings, default_recipe, overrides) if own else ""
        if is_named and not recipe and not stored:
            if _is_mistyped(folder, name):
                nearest = nearest_run(folder, name)
                raise UserError(f"there is no run {name!r}{nearest} A new run of that name needs --recipe.")
            note = f"run {name} is new, with the recipe {recipe_name}"
        return cls(
            name,
            _with_real_labels(_with_start(settings, recipe_name, name)),
            recipe_name,
            folder,
            Path(data).expanduser().absolute() if data and settings.dataset.source != OWN_IMAGES else None,
            machine or Machine(),
            frozenset(map(stage_named, discard)),
            note,
        )

    @cached_property
    def records_name(self) -> str:
        """The data set's name, and that of its folder of records."""
        return name_of_records(self.recipe.dataset.name, self.recipe.dataset.source, self.data)

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

    @property
    def stored_recipe(self) -> Path:
        """The run's own recipe, with every setting spelled out."""
        return self.folder / "recipe.toml"

    def discarding(self, stage: str) -> Run:
        """The same run, where the results of one more stage may be displaced."""
        return replace(self, discard=self.discard | {stage})

    def luigi_command(self, task: str) -> str:
        """What a user types in the current folder to run one of the tasks of this run, as it is stored."""
        return luigi_command(task, self.folder)

    def store(self) -> None:
        """Write the run's recipe, and where it comes from, for commands that give neither."""
        make_folder(self.folder)
        remove_leftovers(self.folder, ".*")
        recipe = self.recipe.toml()
        whole = {hashlib.sha256(recipe.encode()).hexdigest()}
        if self.stored_recipe.exists():  # which stays if this process is killed between the two files
            whole.add(sha256(self.stored_recipe))
        facts = {"recipe": self.recipe_name, "data": str(self.data) if self.data else "", "stated": self.recipe.stated}
        write_json(self.folder / "run.json", facts | {"recipe.toml": sorted(whole)})
        with atomic(self.stored_recipe, "w") as file:
            file.write(recipe)


def require_use_of_data(run: Run, data: str | Path) -> None:
    """Raise UserError where somebody gives a folder of images to a run whose recipe reads none."""
    if data and run.recipe.dataset.source == OWN_IMAGES:
        raise UserError(
            f"--data {data}: recipe {run.recipe_name} reads no folder, since scikit-learn bundles its images. Give the "
            "recipe for yours: --recipe imagefolder (or finetune, to start from trained weights), and a new --run."
        )


def name_of_records(name: str, source: str, data: Path | None) -> str:
    """A data set's name: `dataset.name` of the recipe, or else the data folder's, or else that of `dataset.source`."""
    return name or (re.sub(r"[^A-Za-z0-9._-]+", "-", data.name).strip(".-") if data else "") or source


def stored_recipe(folder: Path) -> Recipe:
    """The recipe in a run's folder, wherever that is. Raises UserError if there is none, or it was changed by hand."""
    stored = _Stored.of(folder)
    if not stored:
        raise UserError(f"{folder} is not the folder of a run: it has no recipe.toml. One is artifacts/runs/NAME.")
    stored.check()
    return stored.settings()


def require_weights(folder: Path) -> Path:
    """The weights with averaged statistics in a run's folder. Raises UserError if the run has not come to them."""
    weights = folder / "batchnorm" / "weights.safetensors"
    if not weights.is_file() or not weights.with_name("stage.json").is_file():
        raise UserError(unfinished_weights(folder))
    return weights


def unfinished_weights(folder: Path) -> str:
    """What to do about a run, by its folder, that has no weights with averaged statistics."""
    command = luigi_command("BatchNormStatistics", folder)
    return f"run {folder.name} has no finished weights yet. Finish it: {command}"


def luigi_command(task: str, folder: Path) -> str:
    """What a user types in the current folder to run one of the tasks of a run, by its folder, as it is stored."""
    return f"luigi --module pipeline {task} --local-scheduler {run_options(folder)}"


def run_options(folder: Path) -> str:
    """The options that name a run, by its folder, on the command lines of the current folder."""
    artifacts = folder.parent.parent
    elsewhere = "" if artifacts == Path("artifacts").absolute() else f" --artifacts {shlex.quote(str(artifacts))}"
    return f"--run {folder.name}{elsewhere}"


@dataclass(frozen=True)
class _Stored:
    """What a run has stored about itself."""

    folder: Path
    recipe: Path
    recipe_name: str
    data: str
    checksums: tuple[str, ...] = ()  # that the recipe may have; none in a run of an earlier version
    stated: tuple[str, ...] = ()  # settings that the recipe had not left out; likewise

    @classmethod
    def of(cls, folder: Path) -> _Stored | None:
        """None where there is no such run."""
        if not (folder / "recipe.toml").is_file():
            return None
        own, origin = folder / "recipe.toml", folder / "run.json"
        facts = read_json(origin, {"recipe", "data", "recipe.toml"}, "Delete it, and give --recipe and --data.")
        if facts is None:  # of an earlier version
            return cls(folder, own, folder.name, "")
        checksums, stated = tuple(facts["recipe.toml"]), tuple(facts.get("stated", ()))
        return cls(folder, own, facts["recipe"], facts["data"], checksums, stated)

    def settings(self, overrides: Sequence[str] = ()) -> Recipe:
        """The recipe's settings, changed by overrides."""
        return load_recipe(str(self.recipe), overrides, lenient=True, stated=self.stated)[1]

    def check(self) -> None:
        """Raise Corrupt if the recipe is not the one that the run stored."""
        if self.checksums and sha256(self.recipe) not in self.checksums:
            way_on = f"Restore it, or give `luigi` a recipe: this one with --recipe {self.recipe}."
            raise corrupt(self.recipe, "it differs from what the run stored", way_on)

    def note(self, settings: Recipe, default_recipe: str, overrides: Sequence[str]) -> str:
        """A sentence where these settings are not those that a new run would have."""
        try:
            if settings == load_recipe(default_recipe, overrides)[1]:
                return ""
        except UserError:  # the overrides fit this run's recipe, and not a new run's
            pass
        changed = f", and {', '.join(overrides)}" if overrides else ""
        return f"run {self.folder.name} goes on with its own recipe, {self.recipe}{changed}"


def is_weights_file(start_from: str) -> bool:
    """Whether `training.start_from` names a file; otherwise it names a run."""
    return os.sep in start_from or start_from.lower().endswith(WEIGHTS)


def _with_start(recipe: Recipe, recipe_name: str, run: str) -> Recipe:
    """The recipe with the file of `training.start_from` as an absolute path: it stays the same file, wherever the next
    command is called from. Raises UserError for what can be neither a file nor another run."""
    start_from = recipe.training.start_from
    if start_from == TO_BE_SAID:
        raise UserError(
            f"recipe {recipe_name} starts from trained weights. Say from which: --override training.start_from=FILE "
            "(of torchvision, timm, Keras or this project), or the name of a finished run instead of FILE."
        )
    if not start_from:
        return recipe
    if is_weights_file(start_from):
        path = os.path.abspath(os.path.expanduser(start_from))
        return recipe.model_copy(update={"training": recipe.training.model_copy(update={"start_from": path})})
    if not re.fullmatch(NAME, start_from):
        raise UserError(f"training.start_from: {start_from!r} is neither {A_FILE} nor the name of a run.")
    if start_from == run:
        raise UserError(
            f"training.start_from: run {run} cannot start from itself. Give the new training a name of its own: --run"
        )
    return recipe


def _with_real_labels(recipe: Recipe) -> Recipe:
    """Likewise for `evaluation.real_labels`."""
    if not recipe.evaluation.real_labels:
        return recipe
    path = os.path.abspath(os.path.expanduser(recipe.evaluation.real_labels))
    return recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update={"real_labels": path})})


def runs_in(artifacts: Path) -> list[str]:
    """The names of the runs there, sorted."""
    return sorted(path.parent.name for path in (artifacts / "runs").glob("*/recipe.toml"))


def nearest_run(artifacts: Path, name: str) -> str:
    """A question about the run whose name is most like this one; empty if none is."""
    found = difflib.get_close_matches(name, runs_in(artifacts), n=1, cutoff=ALIKE)
    return f"; did you mean {found[0]}?" if found else ""


def _is_mistyped(artifacts: Path, name: str) -> bool:
    """Whether a new name is most likely meant to be a run's. Those that differ in numbers only are of a series."""
    others = [run for run in runs_in(artifacts) if re.sub(r"\d", "", run) != re.sub(r"\d", "", name)]
    return bool(difflib.get_close_matches(name, others, n=1, cutoff=SLIP))


def _run_name(recipe_name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", recipe_name).strip(".-") or "run"

"""What all tasks have in common: the run that they belong to, and what happens before one is scheduled."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import luigi

from pipeline.configuration import AbsolutePath, RecipeName, data_of, pipeline
from pipeline.launcher import require_launcher
from pipeline.luigi_hooks import RunLocks, stop
from resnet import datasets
from resnet.datasets.source import MissingData
from resnet.errors import UserError
from resnet.ledger import Ledger
from resnet.recipes import split_override
from resnet.run import Run, require_use_of_data
from resnet.stage_table import chain
from resnet.stages import ledger_of, require_ready

UNSHOWN = {"artifacts", "discard"}  # on the scheduler's page
NO_VALUE = luigi.parameter._no_value
PUBLIC, HIDDEN = (
    luigi.parameter.ParameterVisibility.PUBLIC.serialize(),
    luigi.parameter.ParameterVisibility.HIDDEN.serialize(),
)


class Overrides(luigi.ListParameter):
    """A JSON list, or one override as it is. On the command line it may be repeated; Luigi would keep the last one."""

    @classmethod
    def _parser_kwargs(cls, *names: str) -> dict[str, Any]:
        return super()._parser_kwargs(*names) | {"action": "append"}

    def parse(self, given: str | list[str]) -> tuple[str, ...]:
        texts = given if isinstance(given, list) else [given]
        try:
            return tuple(override for text in texts for override in split_override(text))
        except UserError as error:
            stop(str(error))


class RunTask(luigi.Task):
    """A task of one run. A recipe that cannot be read stops `luigi` with one message."""

    is_answered_at_once = False  # by `prepare`, which ends `luigi`: no scheduler is needed

    # Whether the run must be locked. Not for conversion: several hosts may do it, and records have their own locks.
    writes_in_run = True

    recipe = RecipeName(default="", description="shipped recipe, or a .toml file (default: the run's own)")
    data = AbsolutePath(default=pipeline().data, description="root of the images")
    run_name = luigi.Parameter(default="", description="name of the run (default: the recipe's)")
    artifacts = AbsolutePath(default=pipeline().artifacts, description="folder that everything is written under")
    override = Overrides(default=(), description='settings, such as ["training.epochs=3"]')
    # Not significant: what is asked for is the same, whatever makes way for it.
    discard = luigi.Parameter(
        default="",
        significant=False,
        description="stage whose results, and those that depend on it, may move to the trash",
    )
    stage = ""  # that the task runs, with all that it depends on

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        try:
            self.experiment = self._experiment()
        except UserError as error:
            stop(str(error))
        except OSError as error:
            stop(f"{error.filename} cannot be read: {error.strerror}")
        self.ledger = ledger_of(self.experiment)
        # Short, on the scheduler's page and in its history; the digest is of all that makes tasks different.
        identity = json.dumps(self.to_str_params(only_significant=True), sort_keys=True)
        digest = hashlib.sha256(identity.encode()).hexdigest()[:10]
        self.task_id = "_".join([self.task_family, self.experiment.name, *self._distinction(), digest])
        self.__hash = hash(self.task_id)

    def __hash__(self) -> int:
        return self.__hash

    def _distinction(self) -> list[str]:
        """What a reader tells this task by, besides its name and its run."""
        return []

    def to_str_params(self, only_significant: bool = False, only_public: bool = False) -> dict[str, str]:
        """The parameters as text, for the scheduler's page: with the run's name, also where it is the recipe's."""
        texts = super().to_str_params(only_significant, only_public)
        return texts | {"run": self.experiment.name} if hasattr(self, "experiment") else texts

    def _get_param_visibilities(self) -> dict[str, int]:
        """What the scheduler's page shows of a task: its run, and what is not left at its default."""
        with_default = [
            (name, parameter) for name, parameter in self.get_params() if parameter._default is not NO_VALUE
        ]
        defaults = {name: parameter.normalize(parameter._default) for name, parameter in with_default}
        stated = {name for name, value in self.param_kwargs.items() if value != defaults.get(name)}
        shown = stated - UNSHOWN | {"run"}
        return {name: PUBLIC if name in shown else HIDDEN for name in super()._get_param_visibilities()}

    def _experiment(self) -> Run:
        def run(data: str) -> Run:
            return Run.of(
                self.recipe,
                self.override,
                name=self.run_name,
                artifacts=self.artifacts,
                data=data,
                discard=[name.strip() for name in self.discard.split(",") if name.strip()],
                default_recipe=pipeline().recipe,
            )

        wanted = run(self.data)
        if self.data != type(self).data.normalize(pipeline().data):  # which is for the runs that read a folder
            require_use_of_data(wanted, self.data)
        found = "" if self.data else data_of(wanted.recipe.dataset.name)
        return run(found) if found else wanted

    def prepare(self, locks: RunLocks) -> None:
        """Before anything is scheduled: lock the run, and say what Luigi would not say well.

        Raises UserError for a run that cannot be looked at or would displace what it must not, LockedElsewhere for one
        that is in progress.
        """
        if self.experiment.note:
            print(self.experiment.note, flush=True)
        if self.complete():
            self.say_done()
            return
        if self.stage:
            require_ready(self.ledger, self.stage)
            if "train" in chain(self.stage) and self.ledger.why_incomplete("train"):
                require_launcher(self.ledger.run.recipe.training)
        if not self._is_ready():  # so nothing will run
            print(f"error: no images: {why_missing(self.ledger)}", file=sys.stderr)
        elif self.writes_in_run:
            locks.lock(self.experiment.folder)

    def _is_ready(self) -> bool:
        return not why_missing(self.ledger)

    def why_not_ready(self) -> str:
        """What the task depends on and lacks."""
        reason = self.ledger.why_inputs_incomplete(self.stage)
        return f"{reason}. The same command makes it again." if reason else ""

    def say_done(self) -> None:
        print(f"{self.task_family}: up to date", flush=True)

    # The parameter is called `run`, and so is a method of every Luigi task: here it is `run_name` on the instance.
    @classmethod
    def get_params(cls) -> list[tuple[str, luigi.Parameter]]:
        return [("run" if name == "run_name" else name, parameter) for name, parameter in super().get_params()]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__("run_name" if name == "run" else name, value)

    def clone(self, cls: type[luigi.Task] | None = None, **kwargs: Any) -> luigi.Task:
        task = super().clone(cls, **{"run": self.run_name} | kwargs)
        task.ledger = self.ledger  # so that the images are looked at once
        return task


def why_missing(ledger: Ledger) -> str:
    """Why the images cannot be found, if the conversion still needs them; otherwise empty."""
    run = ledger.run
    if not ledger.why_incomplete("convert"):
        return ""
    try:
        datasets.open_source(run.recipe.dataset, run.data, run.artifacts)
    except MissingData as error:
        return str(error)
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}"
    return ""


class Images(RunTask, luigi.ExternalTask):
    """The labelled images, which come from outside."""

    writes_in_run = False

    def complete(self) -> bool:
        return not why_missing(self.ledger)

"""The pipeline's tasks. A stage's task is complete when the run's ledger says so: see resnet/ledger/.

Images -> ConvertRecords -> Train -> BatchNormStatistics -> Evaluate -> Report        FullRun = all of them
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import luigi
from luigi.task_register import Register

from pipeline.child import run_stage, stage_command
from pipeline.configuration import AbsolutePath, RecipeName, data_of, machine_options, pipeline
from pipeline.launcher import Process, require_launcher, training_processes
from pipeline.luigi_hooks import RunLocks, stop, why_unfulfilled
from resnet import datasets
from resnet.datasets.source import MissingData
from resnet.errors import UserError
from resnet.ledger import Ledger
from resnet.recipes import split_override
from resnet.run import Run
from resnet.runs_page import INDEX
from resnet.stage_table import STAGES, chain
from resnet.stages import ledger_of, require_ready

logger = logging.getLogger("luigi-interface")
SPARE_SECONDS = 300.0  # without progress messages for a scheduler that did not answer


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
        if reason := why_missing(self.ledger):  # so nothing will run
            print(f"error: no images: {reason}", file=sys.stderr)
        elif self.writes_in_run:
            locks.lock(self.experiment.folder)

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


class StageTask(RunTask):
    """A stage of `resnet`, run as a child process. `stage` is its row of the table of stages."""

    _no_progress_until = 0.0

    def requires(self) -> luigi.Task | list[luigi.Task]:
        inputs = STAGES[self.stage].inputs
        return self.clone(task_of(inputs[-1]) if inputs else Images)

    def complete(self) -> bool:
        return not self.ledger.why_incomplete(self.stage)

    def run(self) -> None:
        reason = self.ledger.why_incomplete(self.stage)
        if not reason:  # what it depends on was made again, with the same result
            self.say_done()
            return
        print(f"{self.task_family}: starting ({reason})", flush=True)
        try:
            run_stage(self.stage, self._processes(stage_command(self.stage, self._options())), self.show_progress)
        except UserError as error:
            if not self.complete():
                raise
            # srun's exit code is the worst of all hosts': one may have failed when the chief was done.
            print(f"{self.task_family}: it is complete; what was said in the end: {error}", flush=True)

    def _processes(self, command: list[str]) -> list[Process]:
        """What to start for the stage."""
        return [Process(command)]

    def on_failure(self, exception: BaseException) -> str:
        if isinstance(exception, UserError):
            return str(exception)
        return why_unfulfilled(self, exception) or super().on_failure(exception)

    def _options(self) -> list[str]:
        run = self.experiment
        options = [f"--run={run.name}", f"--artifacts={run.artifacts}", *machine_options()]
        if self.recipe or not run.stored_recipe.exists():
            options.append(f"--recipe={self.recipe or pipeline().recipe}")
        if run.data:
            options.append(f"--data={run.data}")
        options += [f"--discard={stage}" for stage in sorted(run.discard)]
        return options + [f"--override={override}" for override in self.override]

    def show_progress(self, news: dict[str, Any]) -> None:
        """Show progress and status on the scheduler's page. A scheduler that is down does not stop the work: Luigi
        tries each message for a minute, so for some minutes it gets no more of them.
        """
        if time.monotonic() < self._no_progress_until:
            return
        try:
            if "fraction" in news and self.set_progress_percentage:
                self.set_progress_percentage(round(100 * news["fraction"], 1))
            if "message" in news and self.set_status_message:
                self.set_status_message(news["message"])
        except Exception as error:
            logger.warning("progress did not reach the scheduler: %s", error)
            self._no_progress_until = time.monotonic() + SPARE_SECONDS


class ConvertPart(StageTask):
    """Some of the shards: one of `records.parts` tasks, which several hosts can share."""

    stage = "convert"
    writes_in_run = False
    part = luigi.IntParameter(description="which part, counted from 0")

    def complete(self) -> bool:
        return self.ledger.part_is_done(self.part)

    def run(self) -> None:
        if not self.complete():  # another host may have combined the parts meanwhile
            command = stage_command(self.stage, [*self._options(), f"--part={self.part}"])
            run_stage(self.stage, self._processes(command), self.show_progress)


class ConvertRecords(StageTask):
    """Images to shards of records."""

    stage = "convert"
    writes_in_run = False

    def requires(self) -> luigi.Task | list[luigi.Task]:
        parts = self.experiment.recipe.records.parts
        return [self.clone(ConvertPart, part=part) for part in range(parts)] if parts > 1 else super().requires()


class Train(StageTask):
    """Records to trained weights, on one host or several."""

    stage = "train"

    def _processes(self, command: list[str]) -> list[Process]:
        return training_processes(command)


class BatchNormStatistics(StageTask):
    """The trained weights with averaged batch-norm statistics."""

    stage = "batchnorm"


class Evaluate(StageTask):
    """Errors on the validation images."""

    stage = "evaluate"


class Report(StageTask):
    """One page about the run and its results."""

    stage = "report"


class FullRun(RunTask, luigi.WrapperTask):
    """Everything, from images to report."""

    stage = list(STAGES)[-1]

    def requires(self) -> luigi.Task:
        return self.clone(task_of(self.stage))

    def run(self) -> None:
        self._say("done")

    def say_done(self) -> None:
        self._say("up to date")

    def _say(self, state: str) -> None:
        index = self.experiment.artifacts / INDEX
        all_runs = f"; all runs are in {index}" if index.is_file() else ""  # it may not have been possible to write it
        report = self.experiment.stage_folder("report") / "report.html"
        print(f"FullRun: {state}; the report is {report}{all_runs}", flush=True)


def task_of(stage: str) -> type[StageTask]:
    """The task that runs a stage. It is named like the stage's title."""
    return Register.get_task_cls(STAGES[stage].title)

"""The pipeline's tasks. Each stage is complete when its stage.json says so: see resnet/artifacts.py.

Images -> ConvertRecords -> Train -> BatchNormStatistics -> Evaluate -> Report        FullRun = all of them
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from functools import lru_cache
from typing import Any

import luigi
from luigi.interface import PidLockAlreadyTakenExit

from pipeline.child import run_stage
from pipeline.configuration import data_of, machine_options, pipeline
from pipeline.user_errors import stop
from resnet import datasets
from resnet.artifacts import Run
from resnet.datasets.images import MissingData
from resnet.errors import HeldElsewhere, UserError
from resnet.files import held

logger = logging.getLogger("luigi-interface")
SPARE_SECONDS = 300.0  # without news for a scheduler that did not answer

_held = contextlib.ExitStack()  # this process's hold on its run, until it ends


@lru_cache
def _run_of(recipe: str, data: str, run: str, artifacts: str, overrides: tuple[str, ...]) -> Run:
    wanted = Run.of(recipe, overrides, name=run, artifacts=artifacts, data=data)
    found = data_of(wanted.recipe.dataset.name) if not data else ""
    return Run.of(recipe, overrides, name=run, artifacts=artifacts, data=found) if found else wanted


@lru_cache
def _hold(run: Run) -> None:
    """Keep other processes from this run. Raises what makes `luigi` exit with its code for "already running"."""
    try:
        _held.enter_context(held(run.folder))
    except HeldElsewhere as error:
        print(f"error: {error}", file=sys.stderr)
        raise PidLockAlreadyTakenExit from None


class Overrides(luigi.ListParameter):
    """A JSON list, or one override as it is."""

    def parse(self, text: str) -> tuple[str, ...]:
        try:
            overrides = super().parse(text)
        except ValueError:
            return (text,)
        return tuple(map(str, overrides)) if isinstance(overrides, (list, tuple)) else (str(overrides),)


class RunTask(luigi.Task):
    """A task of one run. A recipe that cannot be read stops `luigi` at once."""

    recipe = luigi.Parameter(default=pipeline().recipe, description="shipped recipe, or a .toml file")
    data = luigi.Parameter(default=pipeline().data, description="root of the images")
    run_name = luigi.Parameter(default="", description="name of the run (default: the recipe's)")
    artifacts = luigi.Parameter(default=pipeline().artifacts, description="folder that everything is written under")
    override = Overrides(default=(), description='settings, such as ["training.epochs=3"]')

    # The parameter is called `run`, and so is a method of every Luigi task: here it is `run_name` on the instance.
    @classmethod
    def get_params(cls) -> list[tuple[str, luigi.Parameter]]:
        return [("run" if name == "run_name" else name, parameter) for name, parameter in super().get_params()]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__("run_name" if name == "run" else name, value)

    def clone(self, cls: type[luigi.Task] | None = None, **kwargs: Any) -> luigi.Task:
        return super().clone(cls, **{"run": self.run_name} | kwargs)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        try:
            self.of = _run_of(self.recipe, self.data, self.run_name, self.artifacts, tuple(self.override))
        except UserError as error:
            stop(str(error))


class Images(RunTask, luigi.ExternalTask):
    """The labelled images, which come from outside."""

    def complete(self) -> bool:
        try:
            return not _what_is_missing(self.of)
        except UserError as error:
            stop(str(error))


@lru_cache
def _what_is_missing(run: Run) -> str:
    try:
        datasets.open_source(run.recipe.dataset, run.data, run.artifacts)
    except MissingData as error:
        print(f"error: no images: {error}", file=sys.stderr)
        return str(error)
    except OSError as error:
        print(f"error: no images: {error.filename} cannot be read: {error.strerror}", file=sys.stderr)
        return str(error)
    return ""


class StageTask(RunTask):
    """A stage of `resnet`, run as a child process."""

    stage: str
    needs: type[RunTask]
    _scheduler_is_spared_until = 0.0

    def requires(self) -> luigi.Task | list[luigi.Task]:
        return self.clone(self.needs)

    def complete(self) -> bool:
        try:
            if not self.of.why_incomplete(self.stage):
                return True
            if self.stage != "convert":  # several hosts may convert: records have locks of their own
                _hold(self.of)
        except UserError as error:
            stop(str(error))
        return False

    def run(self) -> None:
        reason = self.of.why_incomplete(self.stage)
        print(f"{self.task_family}: {reason}", flush=True)
        run_stage(self.stage, self._options(), self._show)

    def on_failure(self, exception: BaseException) -> str:
        return str(exception) if isinstance(exception, UserError) else super().on_failure(exception)

    def _options(self) -> list[str]:
        run = self.of
        options = [f"--recipe={self.recipe}", f"--run={run.name}", f"--artifacts={run.artifacts}", *machine_options()]
        if run.data:
            options.append(f"--data={run.data}")
        return options + [f"--override={override}" for override in self.override]

    def _show(self, news: dict[str, Any]) -> None:
        """Progress and status for the scheduler's page. A scheduler that is down does not stop the work: Luigi tries
        each message for a minute, so for some minutes it is spared the next ones.
        """
        if time.monotonic() < self._scheduler_is_spared_until:
            return
        try:
            if "fraction" in news and self.set_progress_percentage:
                self.set_progress_percentage(round(100 * news["fraction"], 1))
            if "message" in news and self.set_status_message:
                self.set_status_message(news["message"])
        except Exception as error:
            logger.warning("the scheduler was not told of the progress: %s", error)
            self._scheduler_is_spared_until = time.monotonic() + SPARE_SECONDS


class ConvertPart(StageTask):
    """Some of the TFRecord shards: one of `records.parts` tasks, which several hosts can share."""

    stage, needs = "convert", Images
    part = luigi.IntParameter(description="which part, counted from 0")

    def complete(self) -> bool:
        return self.of.part_is_done(self.part)

    def run(self) -> None:
        run_stage(self.stage, [*self._options(), f"--part={self.part}"], self._show)


class ConvertRecords(StageTask):
    """Images to TFRecord shards."""

    stage, needs = "convert", Images

    def requires(self) -> luigi.Task | list[luigi.Task]:
        parts = self.of.recipe.records.parts
        return [self.clone(ConvertPart, part=part) for part in range(parts)] if parts > 1 else super().requires()


class Train(StageTask):
    """Records to trained weights."""

    stage, needs = "train", ConvertRecords


class BatchNormStatistics(StageTask):
    """Averages the batch-norm statistics over training batches."""

    stage, needs = "batchnorm", Train


class Evaluate(StageTask):
    """Errors on the validation images."""

    stage, needs = "evaluate", BatchNormStatistics


class Report(StageTask):
    """One page of what was run and what came out."""

    stage, needs = "report", Evaluate


class FullRun(RunTask, luigi.WrapperTask):
    """Everything, from images to report."""

    def requires(self) -> luigi.Task:
        return self.clone(Report)

    def complete(self) -> bool:
        if not super().complete():
            return False
        _say_where_the_report_is(self.of)
        return True


@lru_cache  # once a process: Luigi asks more than once
def _say_where_the_report_is(run: Run) -> None:
    print(f"FullRun: done; the report is {run.stage_folder('report') / 'report.html'}", flush=True)

"""Tasks that are not stages: what is done, and doing it again."""

from __future__ import annotations

import sys

import luigi
from luigi.retcodes import retcode

from pipeline.launcher import require_launcher
from pipeline.luigi_hooks import RunLocks, stop
from pipeline.run_task import RunTask
from pipeline.stage_task import task_of
from pipeline.tasks import FullRun
from resnet import datasets
from resnet.errors import UserError
from resnet.ledger.clearing import clear
from resnet.run import Run
from resnet.stage_table import STAGES, stage_named
from resnet.status import read_status, room


class Status(RunTask):
    """What is done, running, interrupted or stale, and why. It runs nothing, and ends `luigi` before it schedules."""

    disk = luigi.BoolParameter(description="also say how much disk the stages take that would run")
    is_answered_at_once = True
    writes_in_run = False

    def prepare(self, locks: RunLocks) -> None:
        """Print the status, and exit: with 0 only where everything is up to date."""
        status = read_status(self.ledger)
        print("\n".join(status.lines()), flush=True)
        if self.disk and (sentence := room(self.ledger, status.next.seconds.keys()).sentence()):
            print(sentence, flush=True)
        sys.exit(0 if status.is_up_to_date else retcode().not_run)


class StageName(luigi.Parameter):
    """A stage, by its name or by that of its task. Anything else stops `luigi` with one message."""

    def normalize(self, text: str) -> str:
        try:
            return stage_named(text) if text else ""
        except UserError as error:
            stop(f"--stage: {error}")


class Rerun(RunTask, luigi.WrapperTask):
    """A stage once more, and what depends on it: their results move to the trash first."""

    stage = StageName(default="", description="stage to run again, such as Train")
    only = luigi.BoolParameter(description="that stage alone; what depends on it stays, stale if the result differs")
    _is_cleared = False

    def _experiment(self) -> Run:
        run = super()._experiment()
        return run.discarding(self.stage) if self.stage else run

    def prepare(self, locks: RunLocks) -> None:
        """Find out whether the stage can run; then move the results to the trash, once, before it is scheduled."""
        if not self.stage:
            stop(f"--stage: say which stage is to run again: {', '.join(STAGES)}")
        if self.stage == "convert":
            run = self.experiment
            datasets.open_source(run.recipe.dataset, run.data, run.artifacts)  # the images, which it will need
        if self.stage in ("convert", "train"):  # so Train is to run, or its results are stale
            require_launcher(self.ledger.run.recipe.training)
            if start := self.ledger.starting_point:
                start.require()
        super().prepare(locks)
        if self._is_ready():
            moved = clear(self.ledger, self.stage, only=self.only)
            titles = ", ".join(STAGES[name].title for name in moved) or "nothing, as there are no results,"
            print(f"Rerun: {titles} moved to the trash. If it is interrupted, FullRun continues it.", flush=True)
            self._is_cleared = True

    def complete(self) -> bool:
        return self._is_cleared and super().complete()

    def requires(self) -> luigi.Task:
        return self.clone(task_of(self.stage) if self.only else FullRun, discard=self.stage)

"""A stage as a task: it is complete when the run's ledger says so, and runs as a child process."""

from __future__ import annotations

import logging
import math
import sys
import time
from pathlib import Path
from typing import Any

import luigi
from luigi.task_register import Register

from pipeline.attempts import tried_again
from pipeline.child import run_stage, stage_command
from pipeline.configuration import machine_options, pipeline
from pipeline.launcher import Process
from pipeline.luigi_hooks import why_unfulfilled
from pipeline.run_task import Images, RunTask
from resnet.errors import UserError
from resnet.stage_log import last_lines, newest_log
from resnet.stage_table import STAGES

logger = logging.getLogger("luigi-interface")
LAST_LINES = 10  # of a log, in an e-mail or on the scheduler's page
SPARE_SECONDS = 300.0  # without progress messages for a scheduler that did not answer


class StageTask(RunTask):
    """A stage of `resnet`, run as a child process. `stage` is its row of the table of stages."""

    _no_progress_until = 0.0
    _started = math.inf  # when this process began to run the stage, in seconds of time.time()

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
            self._run_stage()
        except UserError as error:
            if not self.complete():
                raise
            # srun's exit code is the worst of all hosts': one may have failed when the chief was done.
            print(f"{self.task_family}: it is complete; what was said in the end: {error}", flush=True)

    def _run_stage(self, *options: str) -> None:
        """Run the stage in child processes, and again where it fails for a reason that may pass."""
        settings, command = pipeline(), stage_command(self.stage, [*self._options(), *options])

        def attempt() -> None:
            run_stage(self.stage, self._processes(command), self.show_progress)

        def say(text: str) -> None:
            print(f"{self.task_family}: {text}", file=sys.stderr, flush=True)
            self.show_progress({"message": text})

        self._started = time.time()
        tried_again(attempt, settings.retries, settings.retry_seconds, say)

    def _processes(self, command: list[str]) -> list[Process]:
        """What to start for the stage."""
        return [Process(command)]

    def on_failure(self, exception: BaseException) -> str:
        if isinstance(exception, UserError):
            return "\n".join([str(exception), *self.where_more_is_said(), *self._last_lines()])
        return why_unfulfilled(self, exception) or super().on_failure(exception)

    def where_more_is_said(self) -> list[str]:
        """The log of the stage's last attempt, if it has come so far that it has one, and the command that goes on."""
        if not (log := self._log()):
            return []
        return [f"The log: {log}", f"What continues it: {self.experiment.luigi_command(self.task_family)}"]

    def _last_lines(self) -> list[str]:
        log = self._log()
        return ["The log's last lines:", *(f"  {line}" for line in last_lines(log, LAST_LINES))] if log else []

    def _log(self) -> Path | None:
        """The log of an attempt of this process."""
        log = newest_log(self.experiment.stage_folder(self.stage))
        return log if log and log.stat().st_mtime >= self._started - 1 else None  # file systems round

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


def task_of(stage: str) -> type[StageTask]:
    """The task that runs a stage. It is named like the stage's title."""
    return Register.get_task_cls(STAGES[stage].title)

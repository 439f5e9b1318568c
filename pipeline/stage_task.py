"""A stage as a task: it is complete when the run's ledger says so, and runs as a child process."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import luigi
from luigi.task_register import Register

from pipeline.attempts import tried_again
from pipeline.child import Running, run_stage, stage_command
from pipeline.configuration import gpus, machine_options, pipeline
from pipeline.launcher import Process
from pipeline.luigi_hooks import end_with_luigi, why_unfulfilled
from pipeline.page_link import PageLink, page_of
from pipeline.run_task import Images, RunTask
from resnet.errors import UserError
from resnet.runs_page import INDEX
from resnet.stage_log import last_lines, newest_log
from resnet.stage_table import STAGES
from resnet.status.stage_status import figure_of

COMPUTING = ("train", "batchnorm", "evaluate")  # stages that use a GPU where there is one
LAST_LINES = 10  # of a log, in an e-mail or on the scheduler's page


class StageTask(RunTask):
    """A stage of `resnet`, run as a child process. `stage` is its row of the table of stages."""

    scheduler_messages: Any = None  # Luigi gives it, while the task runs
    _progress_known: object = ""  # what _progress found last
    _started = math.inf  # when this process began to run the stage, in seconds of time.time()

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # Of the scheduler. They only count: which GPU is used, CUDA_VISIBLE_DEVICES says.
        count = gpus() if self.stage in COMPUTING else 0
        self.resources = {"gpu": count} if count else {}

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
        running = Running()
        self._started = time.time()
        end_with_luigi()
        with PageLink(self, running) as page:
            address = page_of(self._scheduler(), self.experiment.artifacts)

            def show(news: dict[str, Any]) -> None:
                page.show(news | ({"url": self._link(address)} if address else {}))

            def attempt() -> None:
                run_stage(self.stage, self._processes(command), show, running)

            def say(text: str) -> None:
                print(f"{self.task_family}: {text}", file=sys.stderr, flush=True)
                page.show({"message": text})

            page.show({"fraction": 0.0})
            wait = running.is_asked_to_stop.wait
            tried_again(attempt, self._progress, settings.retries, settings.retry_seconds, say, wait)
            if record := self.ledger.record(self.stage):  # not yet where there are more parts to convert
                page.show({"fraction": 1.0, "message": figure_of(self.stage, record) or "done"})

    def _scheduler(self) -> object:
        """That which Luigi has the task report to."""
        return getattr(getattr(self.set_tracking_url, "__self__", None), "_scheduler", None)

    def _link(self, address: str) -> str:
        """Where to see more of the running stage: the page of all runs has the curves of a training."""
        log = self._log()
        if self.stage == "train" or log is None:
            return f"{address}/{INDEX}"
        return f"{address}/{quote(str(log.relative_to(self.experiment.artifacts)))}"

    def _progress(self) -> object:
        """Another thing once the stage has done some work: of a training, its newest checkpoint. While the disk is
        away, what was known last."""
        folder = self.experiment.stage_folder(self.stage)
        with contextlib.suppress(OSError):
            if self.stage == "train":
                names = (path.name for path in folder.glob("checkpoints/*.safetensors"))
                self._progress_known = max(names, default="")
            else:
                self._progress_known = len(list(folder.glob("index/*.json")))
        return self._progress_known

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
        try:
            log = newest_log(self.experiment.stage_folder(self.stage))
            return log if log and log.stat().st_mtime >= self._started - 1 else None  # file systems round
        except OSError:
            return None

    def _options(self) -> list[str]:
        run = self.experiment
        options = [f"--run={run.name}", f"--artifacts={run.artifacts}", *machine_options()]
        if self.recipe or not run.stored_recipe.exists():
            options.append(f"--recipe={self.recipe or pipeline().recipe}")
        if run.data:
            options.append(f"--data={run.data}")
        options += [f"--discard={stage}" for stage in sorted(run.discard)]
        return options + [f"--override={override}" for override in self.override]


def task_of(stage: str) -> type[StageTask]:
    """The task that runs a stage. It is named like the stage's title."""
    return Register.get_task_cls(STAGES[stage].title)

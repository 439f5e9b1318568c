"""The pipeline's tasks. A stage's task is complete when the run's ledger says so: see resnet/ledger/.

Images -> ConvertRecords -> Train -> BatchNormStatistics -> Evaluate -> Report        FullRun = all of them
"""

from __future__ import annotations

import luigi

from pipeline.launcher import Process, training_processes
from pipeline.run_task import Images, RunTask
from pipeline.stage_task import StageTask, task_of
from resnet.runs_page import INDEX
from resnet.stage_table import STAGES

__all__ = ["BatchNormStatistics", "ConvertPart", "ConvertRecords", "Evaluate", "FullRun", "Images", "Report", "Train"]


class ConvertPart(StageTask):
    """Some of the shards: one of `records.parts` tasks, which several hosts can share."""

    stage = "convert"
    writes_in_run = False
    part = luigi.IntParameter(description="which part, counted from 0")

    def _distinction(self) -> list[str]:
        return [f"{self.part + 1}-of-{self.experiment.recipe.records.parts}"]

    def complete(self) -> bool:
        return self.ledger.part_is_done(self.part)

    def run(self) -> None:
        if not self.complete():  # another host may have combined the parts meanwhile
            self._run_stage(f"--part={self.part}")


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
    accepts_messages = True  # status, checkpoint, stop

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

"""The stages, a row each. Everything that lists stages reads this table: commands, Luigi tasks, ledger and report."""

from __future__ import annotations

from typing import NamedTuple

from resnet.errors import UserError


class Stage(NamedTuple):
    """A row of the table."""

    name: str  # of its command and of its folder
    title: str  # of its Luigi task, and in the report
    help: str
    version: int  # raise it when the code would give different results for the same settings
    sections: tuple[str, ...]  # of the recipe: the settings that affect its results
    inputs: tuple[str, ...]  # the stages whose artifacts it reads; the last one depends on all others
    module: str  # where its `main` is. A string: importing TensorFlow takes six seconds
    self_checked: tuple[str, ...] = ()  # how the names of outputs begin that carry checksums inside


STAGES = {
    stage.name: stage
    for stage in (
        Stage(
            "convert",
            "ConvertRecords",
            "convert images to records",
            2,
            ("dataset", "records"),
            (),
            "resnet.stages.convert",
            self_checked=("train-", "validation-"),
        ),
        Stage(
            "train",
            "Train",
            "train on the records",
            1,
            ("model", "augmentation", "training"),
            ("convert",),
            "resnet.stages.train",
        ),
        Stage(
            "batchnorm",
            "BatchNormStatistics",
            "average the batch-norm statistics over training batches",
            1,
            ("batchnorm",),
            ("convert", "train"),
            "resnet.stages.batchnorm",
        ),
        Stage(
            "evaluate",
            "Evaluate",
            "measure the error on the validation images",
            1,
            ("evaluation",),
            ("convert", "batchnorm"),
            "resnet.stages.evaluate",
        ),
        Stage(
            "report",
            "Report",
            "write one page about the run and its results",
            3,
            (),
            ("convert", "train", "batchnorm", "evaluate"),
            "resnet.stages.report",
        ),
    )
}


def chain(stage: str) -> list[str]:
    """A stage and all that it depends on, in the order in which they run."""
    needed = {stage}
    for name in reversed(list(STAGES)):
        if name in needed:
            needed.update(STAGES[name].inputs)
    return [name for name in STAGES if name in needed]


def stage_named(name: str) -> str:
    """The stage of that name or title, such as train or Train. Raises UserError, with the valid names."""
    for stage in STAGES.values():
        if name in (stage.name, stage.title):
            return stage.name
    raise UserError(f"there is no stage {name!r}: it is one of {', '.join(STAGES)}")

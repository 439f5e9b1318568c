"""Draw the images that the network saw in a step of training: what to look at first when the loss jumps.

Steps count as in log.jsonl and in the names of checkpoints: step 1 is the first, and a line at "step": 200 is the mean
over the steps since the line before, up to the 200th.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from resnet.commands.options import existing_run
from resnet.errors import UserError
from resnet.ledger import Ledger
from resnet.records.shards import ShardedRecords
from resnet.report.batch_sheet import BatchSheet, draw_batch
from resnet.run import Run
from resnet.stages import ledger_of
from resnet.training.checkpoint_files import known_corrupt_records
from resnet.training.log_format import TRAINING, read_log
from resnet.training.schedule import Schedule


def main(options: argparse.Namespace) -> None:
    """Write the sheet and the table of the step that the options name. Locks nothing: the run may be training."""
    if options.step < 1 or options.count < 1:
        raise UserError("--step and --count must be at least 1: steps count from 1, as in log.jsonl")
    folder = existing_run(options)
    run = Run.of(name=folder.name, artifacts=folder.parent.parent)
    ledger = ledger_of(run)
    trained = require_training(ledger)
    records = ShardedRecords(run.records, "train")
    schedule = Schedule(run.recipe.training, len(records))
    if options.step > schedule.steps:
        raise UserError(f"--step {options.step}: run {run.name} trains {schedule.steps:,} steps, which count from 1")
    sheet = sheet_path(options.out or f"{run.name}-step-{options.step}.png")
    corrupt = corrupt_records(run, trained)
    drawn = draw_batch(run.recipe, records, options.step - 1, sheet, corrupt=corrupt, most=options.count)
    print("\n".join(f"batch: {line}" for line in summary(run, schedule, options.step, drawn)))


def require_training(ledger: Ledger) -> dict[str, Any]:
    """The stage.json of the run's training, or its begun.json. Raises UserError where it has none of its own, or the
    records are others by now."""
    run = ledger.run
    trained = ledger.record("train") or ledger.begun("train")
    if trained is None:
        raise UserError(f"run {run.name} has not begun to train. Train it: {run.luigi_command('Train')}")
    if "imported" in trained:
        raise UserError(f"run {run.name} has imported weights ({trained['imported']['file']}): it was not trained here")
    converted = ledger.record("convert")
    if converted is None or converted["digest"] != trained["inputs"].get("convert"):
        state = "are not complete" if converted is None else "were made again since, with another result"
        raise UserError(
            f"the records in {run.records} {state}, so what run {run.name} saw is not there. Restore them, or make "
            f"them again of the same images: {run.luigi_command('ConvertRecords')}"
        )
    return trained


def corrupt_records(run: Run, trained: dict[str, Any]) -> Sequence[str]:
    """The records that the run found to be corrupt, until its end or its newest checkpoint."""
    if "outputs" in trained:
        return trained.get("corrupt_records", [])
    return known_corrupt_records(run.stage_folder("train") / "checkpoints")


def sheet_path(name: str) -> Path:
    """Where the sheet goes. Raises UserError for a name that is no PNG's, or a folder that is not there."""
    path = Path(name).expanduser().absolute()
    if path.suffix.lower() != ".png":
        raise UserError(f"--out {name}: the sheet is a PNG file, so its name must end in .png")
    if not path.parent.is_dir():
        raise UserError(f"--out {name}: there is no folder {path.parent}")
    return path


def summary(run: Run, schedule: Schedule, step: int, drawn: BatchSheet) -> list[str]:
    """What was drawn, and what the log says of the step."""
    lines = [
        f"step {step:,} of {schedule.steps:,}, in epoch {schedule.epoch(step - 1) + 1}; {log_of(run, step)}",
        f"{drawn.sheet} shows {drawn.drawn} of its {drawn.images} images; left: what the network saw, "
        "right: the whole image",
        f"{drawn.table} lists all",
    ]
    if drawn.substitutes:
        are = "is a substitute" if drawn.substitutes == 1 else "are substitutes"
        lines.append(f"{drawn.substitutes} of them {are} of a corrupt record")
    return lines


def log_of(run: Run, step: int) -> str:
    """The line of the training log that covers a step."""
    lines = [line for line in read_log(run.stage_folder("train") / "log.jsonl") if set(line) >= TRAINING]
    ends = [0, *(int(line["step"]) for line in lines)]
    for line, (before, last) in zip(lines, pairwise(ends), strict=True):
        if before < step <= last:
            first = before + 1
            steps = f"the mean of steps {first:,} to {last:,}" if first < last else "of this very step"
            return f'loss {line["loss"]:.3f} in the log, at "step": {last}, {steps}'
    return "the log has not come to it yet; these are its images"

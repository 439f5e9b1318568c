"""What Train consists of, and what it says of it: before the first step, and where a step is not finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from resnet.devices import device_names, has_tensor_float_32
from resnet.errors import UserError
from resnet.hosts.meeting import Meeting
from resnet.model.network import ResNet
from resnet.records.shards import ShardedRecords
from resnet.report.wording import after_epochs, count, learning_rate
from resnet.run import Run
from resnet.settings import Training
from resnet.training.checkpoints import Checkpoints
from resnet.training.pulse import NotFinite
from resnet.training.schedule import Schedule
from resnet.training.start import in_order
from resnet.training.step import TrainStep


class Pieces(NamedTuple):
    """What a training consists of, on every host."""

    records: ShardedRecords
    strategy: tf.distribute.Strategy
    network: ResNet
    step: TrainStep
    schedule: Schedule


def opening_line(pieces: Pieces, hosts: int, first: int, lengthened_from: Sequence[int] = ()) -> str:
    """What is about to be trained, on what, and from which step on. `lengthened_from`: the epochs that it had."""
    network, settings = pieces.network, pieces.schedule.training
    size, replicas, devices = settings.replica_batch_size, settings.replicas, device_names(pieces.strategy)
    batch = f"{replicas} x {size}" if replicas > 1 else str(size)
    epochs = count(settings.epochs, "epoch")
    where = f"{len(devices)} x {devices[0]}" if len(devices) > 1 else devices[0]
    where = f"{hosts} hosts with {where} each" if hosts > 1 else where
    lines = [
        f"ResNet-{network.depth}, {network.parameters:,} weights; {len(pieces.records):,} images, {epochs}",
        ", ".join([f"{batch} images per step on {where}", *ways(settings, pieces.step)]),
        f"learning rate {learning_rate(settings)}",
    ]
    if network.frozen:
        lines.append(f"frozen: {', '.join(in_order(network.frozen))}")
    if unreached := [epoch for epoch in settings.drops if epoch >= settings.epochs]:
        lines.append(f"training ends before the learning rate drops {after_epochs(unreached)}")
    if lengthened_from:
        bits = "to the last bit" if settings.deterministic else "up to rounding"
        before = " and ".join(map(str, lengthened_from))
        lines += [
            f"lengthened from {before} epochs: weights, losses and errors are those of",
            f"{epochs} from the start, {bits}; times and attempts are not",
        ]
    if first:
        lines.append(f"resuming from step {first:,}")
    return "\n".join(f"train: {line}" for line in lines)


def ways(settings: Training, step: TrainStep) -> list[str]:
    """What is unusual about how the step computes, a few words each."""
    found = {
        settings.precision: settings.precision != "float32",
        "float32 (tensorfloat32 is faster)": settings.precision == "float32" and has_tensor_float_32(),
        f"{step.replicas_at_once} replicas in one pass": step.replicas_at_once > 1,
        "compiled by XLA": settings.xla,
        "not deterministic": not settings.deterministic,
    }
    return [words for words, is_so in found.items() if is_so]


def explained(error: NotFinite, run: Run, meeting: Meeting, checkpoints: Checkpoints) -> str:
    """What to do about a step whose loss or gradients are not finite. The chief draws its images."""
    saved = checkpoints.steps()
    parts = [f"{error}.", f"The newest checkpoint is that of step {saved[-1]}." if saved else "There is no checkpoint."]
    if meeting.cluster.is_chief:
        parts.append(drawn(run, error.step, list(checkpoints.corrupt)))
    parts.append(
        "Lower training.learning_rate or set training.clip_norm, with which training begins again; and look at the "
        "images and labels, also of the steps before."
    )
    if run.recipe.training.precision == "float16":
        parts.append("float16 ends at 65,504: try training.precision=bfloat16.")
    return " ".join(parts)


def drawn(run: Run, step: int, corrupt: Sequence[str]) -> str:
    """Draw the images of a step, which counts from 1, beside the checkpoints; returns a sentence that says where."""
    from resnet.report.batch_sheet import draw_batch  # here, because matplotlib takes a second to import

    sheet = run.stage_folder("train") / f"not-finite-step-{step}.png"
    try:
        made = draw_batch(run.recipe, ShardedRecords(run.records, "train"), step - 1, sheet, corrupt=corrupt)
    except (OSError, UserError) as error:
        return f"The images of step {step} cannot be drawn: {error}."
    return f"The images of step {step}: {made.sheet} shows {made.drawn} of {made.images}, {made.table} lists all."

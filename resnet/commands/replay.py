"""replay: train again from a kept checkpoint, and compare with the next one. The run stays as it is.

Where nothing differs, the weights do come from this recipe, these records and this code.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from resnet.commands.batch import require_training
from resnet.commands.options import artifacts_of, machine_of, run_in
from resnet.errors import UserError
from resnet.hosts.meeting import Alone
from resnet.ledger import Ledger
from resnet.ledger.locking import reading
from resnet.loader.batches import training_batches
from resnet.progress import Progress
from resnet.provenance import provenance
from resnet.run import Run
from resnet.stages import ledger_of, without_keras, without_startup_notes
from resnet.training.checkpoint_files import checkpoint_path, checkpoint_steps
from resnet.weights.tensor_files import read_tensors

if TYPE_CHECKING:
    from resnet.stages.pieces import Pieces
    from resnet.training.checkpoints import Checkpoints

TOLERANCE = 0.01  # of a tensor's norm: on another kind of device, sums are rounded in another order, and that grows


class Difference(NamedTuple):
    """A tensor that came out otherwise. `relative`: the norm of the difference, in norms of the tensor."""

    tensor: str
    numbers: int  # that differ
    relative: float


def main(options: argparse.Namespace) -> None:
    """Replay, and say what came of it. Raises UserError where the result is another."""
    artifacts = artifacts_of(options)
    run = Run.of(name=run_in(artifacts, options.run).name, artifacts=artifacts, machine=machine_of(options))
    ledger = ledger_of(run)
    require_training(ledger)
    first, last = chosen(checkpoint_folder(run), options.first, options.steps)
    with reading(ledger, ["convert", "train"]):
        require_training(ledger)  # again: its records may have been made again meanwhile
        pieces, differences, compared = replayed(ledger, first, last)
    why = why_other_bits(ledger, pieces)
    refuse(differences, first, last, why)
    largest = max((one.relative for one in differences), default=0.0)
    answer = {"run": run.name, "from": first, "to": last, "tensors": compared, "same": not differences}
    if options.json:
        print(json.dumps(answer | {"largest_difference": largest, "tolerance": TOLERANCE if differences else 0.0}))
        return
    result = f"{compared:,} tensors are the same, bit for bit"
    if differences:
        result = f"{compared:,} tensors differ by {largest:.1g} of their norm at most ({TOLERANCE:g} is allowed: {why})"
    print(f"replay: from step {first:,} to step {last:,}: {result}")


def checkpoint_folder(run: Run) -> Path:
    """The folder of the run's checkpoints. Raises UserError where there are none."""
    folder = run.stage_folder("train") / "checkpoints"
    if not folder.is_dir() or not checkpoint_steps(folder):
        raise UserError(f"run {run.name} has no checkpoints: {run.luigi_command('Train')}")
    return folder


def chosen(folder: Path, first: int | None, count: int | None) -> tuple[int, int]:
    """The steps from and up to which to train: by default, the last two checkpoints. Raises UserError."""
    kept = checkpoint_steps(folder)
    named = ", ".join(map(str, kept))
    if first is None:
        first = ([0, *kept])[-2] if count is None else next((s for s in reversed(kept) if s + count in kept), 0)
    if first and first not in kept:
        raise UserError(f"--from {first}: there is no checkpoint of step {first}, but of {named}, and 0 is the start")
    later = [step for step in kept if step > first]
    if count is not None and first + count not in later:
        raise UserError(
            f"--steps {count}: there is no checkpoint of step {first + count} to compare with, but of {named}"
        )
    if not later:
        raise UserError(f"--from {first}: there is no later checkpoint to compare with. There are those of {named}.")
    return first, later[0] if count is None else first + count


def replayed(ledger: Ledger, first: int, last: int) -> tuple[Pieces, list[Difference], int]:
    """Train; returns the pieces, the tensors that came out otherwise, and how many were compared."""
    with without_startup_notes(), without_keras():
        from resnet.stages.train import build, start
        from resnet.training.checkpoints import Checkpoints
        from resnet.weights.safetensors_files import values
    run = ledger.run
    folder = checkpoint_folder(run)
    expected, _ = read_tensors(checkpoint_path(folder, last))  # before the work
    pieces = build(run, Alone())
    checkpoints = Checkpoints(folder, pieces.network, pieces.step.state)
    if first:
        checkpoints.restore(first)
    else:
        start(ledger, pieces)
    train(run, pieces, checkpoints, first, last)
    differences = compare(values(checkpoints.variables), expected)
    if last == pieces.schedule.steps and (weights := run.stage_folder("train") / "weights.safetensors").is_file():
        with pieces.step.averaged():
            differences += compare(values(pieces.network.named_variables()), read_tensors(weights)[0], weights.name)
    return pieces, differences, len(expected)


def train(run: Run, pieces: Pieces, checkpoints: Checkpoints, first: int, last: int) -> None:
    """The steps, as `TrainingLoop` does them, without anything that it writes."""
    corrupt = list(checkpoints.corrupt)
    with (
        training_batches(run.recipe, pieces.records, run.machine.workers, first, last, corrupt) as loader,
        Progress("training again", last - first, "steps") as progress,
    ):
        for batch in loader:
            rate = pieces.schedule.learning_rate(batch.step)
            metrics = pieces.step.on(pieces.step.place(batch.images, batch.labels, batch.step), rate)
            del batch  # its memory is filled again
            progress.advance(1, f"loss {float(metrics[0]):.3f}")


def compare(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], file: str = "") -> list[Difference]:
    """The tensors that differ in any bit, by name. Raises UserError where they are not the same ones."""
    if odd := sorted(set(found) ^ set(expected)):
        raise UserError(f"the checkpoint is of another network: only one of the two has {odd[0]}")
    differences = []
    for name, value in expected.items():
        if found[name].tobytes() != value.tobytes():
            off = np.linalg.norm((found[name].astype(float) - value.astype(float)).ravel())
            norm = np.linalg.norm(value.astype(float).ravel())
            label = f"{name} of {file}" if file else name
            differences.append(Difference(label, int((found[name] != value).sum()), float(off / max(norm, 1e-30))))
    return differences


def why_other_bits(ledger: Ledger, pieces: Pieces) -> str:
    """Why other bits are to be expected here than where the run was trained; empty where they are not."""
    from resnet.devices import device_names

    record = ledger.record("train")
    if record is None:  # it is not finished, and has noted no devices
        return ""
    here, there = (_kinds(names) for names in (device_names(pieces.strategy), record["devices"]))
    if here != there:
        return f"trained on {', '.join(there)}, and this is {', '.join(here)}"
    now = provenance()["packages"]
    others = [f"{name} {version}" for name, version in record.get("packages", {}).items() if now.get(name) != version]
    if others := [name for name in others if name.startswith("tensorflow")]:
        return f"trained with {', '.join(others)}"
    if not pieces.schedule.training.deterministic and here != ["CPU"]:
        return "without training.deterministic, the order of additions changes"
    return ""


def _kinds(devices: Sequence[str]) -> list[str]:
    """What they are: "CPU (2 cores)" is a CPU."""
    return sorted({device.partition(" (")[0] for device in devices})


def refuse(differences: Sequence[Difference], first: int, last: int, why_other_bits: str) -> None:
    """Raise UserError where the result is another than is to be expected."""
    bad = [one for one in differences if not why_other_bits or not one.relative <= TOLERANCE]
    if not bad:
        return
    worst = max(bad, key=lambda one: one.relative)
    more = f", and {len(bad) - 1:,} more tensors differ" if len(bad) > 1 else ""
    allowed = (
        f"{TOLERANCE:g} of its norm is allowed, as it was {why_other_bits}."
        if why_other_bits
        else "Not a bit may differ on the same kind of device; another model of CPU, or other code, can be the reason."
    )
    raise UserError(
        f"step {last:,} does not come from step {first:,}: {worst.tensor} differs in {worst.numbers:,} numbers, by "
        f"{worst.relative:.2g} of its norm{more}. {allowed}"
    )

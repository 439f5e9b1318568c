"""Images a second of the whole training step beside Keras's and PyTorch's, on the same batch, in one run, alternating.

    python benchmarks/train_step.py                                            ResNet-50, 32 images of 224x224
    python benchmarks/train_step.py --precision float32 bfloat16 --torch-python PATH --json FILE
    python benchmarks/train_step.py --checkpoint-every 100                     also the cost of checkpoints
    python benchmarks/train_step.py --export FOLDER                            the step as StableHLO: see pjrt_step.py

A step is forward, backward, update, loss, top-1 and top-5 error. Each contender is a process of its own, which does its
steps when it is asked to and otherwise waits: A B C, A B C, and so on. All have the same batch of random images. This
project takes the uint8 images; Keras and PyTorch are given float32 images that were prepared before. Depths, batches
and precisions are measured one after the other. A contender that is not installed, or cannot do a task, is left out
with its reason. "Products of matrices" are the ceiling: as many operations as the step's convolutions, and nothing
else.

All wait with their memory, 3 to 5 GB each for ResNet-50 and 32 images: choose some with --only where it is short. On a
busy machine, set OMP_WAIT_POLICY=passive: PyTorch's threads otherwise keep cores busy while they wait for each other.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from machine import machine
from step_contenders import CHECKPOINTED, CONTENDERS
from step_measuring import Group, table
from step_process import StepProcess
from step_task import StepTask, write_batch

from resnet.errors import UserError
from resnet.files import atomic

PRECISIONS = ("float32", "tensorfloat32", "bfloat16", "float16")


def main() -> None:
    options = _options()
    if options.export:
        export(options)
        return
    facts, groups = about(options), []
    with tempfile.TemporaryDirectory(prefix="train-step-") as folder:
        for depth, batch, precision in itertools.product(options.depth, options.batch, options.precision):
            images = write_batch(Path(folder) / f"{batch}.npz", batch, options.size, options.classes)
            groups.append(measure(task_of(options, depth, batch, precision, str(images)), options))
            print_group(groups[-1], facts)
            if options.json:
                with atomic(Path(options.json), "w") as file:
                    json.dump({"about": facts, "groups": groups}, file, indent=1)
    if not any(group["contenders"] for group in groups):
        sys.exit("nothing was measured: every contender was left out, for the reasons above")


def task_of(options: argparse.Namespace, depth: int, batch: int, precision: str, images: str) -> StepTask:
    return StepTask(
        depth,
        batch,
        options.size,
        options.classes,
        precision,
        options.stride_in,
        options.deterministic,
        images,
        options.replicas,
    )


def measure(task: StepTask, options: argparse.Namespace) -> dict[str, Any]:
    """All contenders on one task, in turn."""
    group = Group(task.batch)
    try:
        for name, row in CONTENDERS.items():
            if not options.only or name in options.only:
                arguments = {"task": task, **row.options}
                if name == CHECKPOINTED:
                    arguments["folder"] = options.checkpoint_folder
                python = options.torch_python if row.is_torch else sys.executable
                group.add(name, partial(StepProcess, name, row.make, arguments, python), options.seconds)
        saves: list[dict[str, Any]] = []
        for number in range(1, options.rounds + 1):
            group.round(number)
            if options.checkpoint_every:
                saves += group.ask(CHECKPOINTED, "save")
        contenders = group.summary()
    finally:
        group.close()
    found = {"depth": task.depth, "batch": task.batch, "precision": task.precision, "contenders": contenders}
    if saves and CHECKPOINTED in contenders:
        step = task.batch / contenders[CHECKPOINTED]["rate"]
        found["checkpoint"] = checkpoint_cost(saves, step, options.checkpoint_every)
    return {**found, "left_out": group.left_out}


def checkpoint_cost(saves: list[dict[str, Any]], step_seconds: float, every: int) -> dict[str, Any]:
    """What saving takes: seconds of each save, and the share of the time that goes into it, in percent, where one
    checkpoint is saved every so many steps."""
    seconds = [save["seconds"] for save in saves]
    median = statistics.median(seconds)
    share = 100 * median / (median + every * step_seconds)
    return {"every": every, "seconds": seconds, "bytes": saves[0]["bytes"], "percent": share}


def about(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures depend on, besides what each group says itself."""
    names = ("size", "classes", "stride_in", "replicas", "deterministic", "rounds", "seconds")
    return {**machine(), **{name: getattr(options, name) for name in names}}


def print_group(group: dict[str, Any], facts: dict[str, Any]) -> None:
    """The table of one depth, batch and precision."""
    replicas = f", {facts['replicas']} replicas" if facts["replicas"] > 1 else ""
    devices = sorted({figure["device"] for figure in group["contenders"].values()})
    print(
        f"\nResNet-{group['depth']}, {group['batch']} images of {facts['size']}x{facts['size']} a step, "
        f"{group['precision']}, stride in the {facts['stride_in']} convolution"
        f"{replicas}"
        f"{', deterministic' if facts['deterministic'] else ''}; {', '.join(devices) or 'no device'}; "
        f"{facts['cores']} cores of {facts['cpu']}, Python {facts['python']}, load {facts['load']:.1f}; median of "
        f"{facts['rounds']} rounds of about {facts['seconds']:g} s, alternating\n"
    )
    print("\n".join(table(group["contenders"], CHECKPOINTED)))
    for name, reason in group["left_out"].items():
        print(f"Left out: {name}: {reason}")
    if cost := group.get("checkpoint"):
        print(
            f"\nA checkpoint of {cost['bytes'] / 1e6:,.0f} MB every {cost['every']:,} steps takes "
            f"{cost['percent']:.2f} % of the time: {statistics.median(cost['seconds']):.2f} s each "
            f"({min(cost['seconds']):.2f} to {max(cost['seconds']):.2f})"
        )
    sys.stdout.flush()


def export(options: argparse.Namespace) -> None:
    """Write the step of the first depth, batch and precision."""
    import tensorflow as tf
    from step_contenders import made_step, recipe_of
    from step_export import export_step

    task = task_of(options, options.depth[0], options.batch[0], options.precision[0], "")
    try:
        # Not the trainer's strategy: where operations are deterministic, XLA refuses the gradient of max pooling.
        step, network = made_step(recipe_of(task, False), task.classes, tf.distribute.OneDeviceStrategy("/cpu:0"))
        export_step(step, network, task, Path(options.export), check_steps=options.check_steps)
    except (UserError, OSError) as error:
        sys.exit(f"error: the step was not exported: {error}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, nargs="+", default=[50], help="layers")
    parser.add_argument("--batch", type=int, nargs="+", default=[32], help="images a step")
    parser.add_argument("--precision", choices=PRECISIONS, nargs="+", default=["float32"])
    parser.add_argument("--size", type=int, default=224, help="of the images, in pixels")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--stride-in", choices=("1x1", "3x3"), default="1x1", help="as in the recipe's model.stride_in")
    parser.add_argument("--replicas", type=int, default=1, help="of this project's step, in a batch")
    parser.add_argument("--deterministic", action="store_true", help="as the recipe's training.deterministic")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10, help="of a round, about; at least one step is done")
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, metavar="NAME", help=f"of {', '.join(CONTENDERS)}")
    parser.add_argument(
        "--torch-python", default=sys.executable, metavar="PATH", help="the interpreter that has PyTorch; default: this"
    )
    parser.add_argument("--checkpoint-every", type=int, default=0, metavar="N", help="measure the cost of checkpoints")
    parser.add_argument("--checkpoint-folder", default="", metavar="DIR", help="on which disk; default: that of /tmp")
    parser.add_argument("--json", help="write the results to this file too")
    parser.add_argument("--export", metavar="FOLDER", help="write the step as StableHLO to FOLDER, and measure nothing")
    parser.add_argument(
        "--check-steps", type=int, default=0, metavar="N", help="export also the state after N steps, to compare with"
    )
    options = parser.parse_args()
    if options.replicas < 1 or any(batch % options.replicas for batch in options.batch):
        parser.error(f"--replicas={options.replicas} does not divide the batch")
    return options


if __name__ == "__main__":
    main()

"""An exported training step (`train_step.py --export`) under JAX's PJRT client, on a machine without TensorFlow.

    PYTHONPATH=. python benchmarks/pjrt_step.py FOLDER [--torch] [--json FILE]         alone, beside PyTorch
    python benchmarks/pjrt_step.py FOLDER --records FOLDER --workers 1,2,4,8,16        fed by this project's loader
    python benchmarks/pjrt_step.py FOLDER --check                                      beside TensorFlow's own numbers

It needs JAX, NumPy and safetensors; with --records also what the loader needs (pyzmq, simplejpeg, OpenCV, Pillow,
google-crc32c, protobuf, pydantic). The images are on the device already, or they come from the loader, and the next
batch is transferred while a step runs. Everything is measured in turn, in processes of their own; the others wait. On a
busy machine, set OMP_WAIT_POLICY=passive: PyTorch's threads otherwise keep cores busy while they wait for each other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from exported_step import ExportedStep
from machine import machine
from step_contenders import CONTENDERS
from step_measuring import Group, table
from step_process import StepProcess
from step_task import LeftOut, write_batch

from resnet.errors import UserError
from resnet.files import atomic

EXPORTED = "exported step, PJRT"


def main() -> None:
    options = _options()
    try:
        exported = ExportedStep.read(Path(options.folder))
        report = measure(exported, options)
    except (UserError, LeftOut) as error:
        sys.exit(f"error: {error}")
    print_report(report)
    if options.json:
        with atomic(Path(options.json), "w") as file:
            json.dump(report, file, indent=1)


def measure(exported: ExportedStep, options: argparse.Namespace) -> dict[str, Any]:
    """The exported step, alone and fed, and PyTorch's, in turn."""
    group = Group(exported.task.batch)
    fed: dict[int, list[dict[str, float]]] = {workers: [] for workers in options.workers if options.records}
    check: dict[str, Any] | None = None
    try:
        add_contenders(group, exported, options)
        require_exported(group)
        if options.check:
            check = group.processes[EXPORTED].ask("check")
        for number in range(1, options.rounds + 1):
            group.round(number)
            require_exported(group)
            for workers, rounds in fed.items():
                rounds.append(fed_round(group, workers))
                print(f"round {number}, {workers} workers: {rounds[-1]['rate']:,.1f} images/s", file=sys.stderr)
        contenders = group.summary()
    finally:
        group.close()
    names = ("rounds", "seconds", "made_state")
    about = machine() | {name: getattr(options, name) for name in names} | exported.task._replace(images="")._asdict()
    return {"about": about, "check": check, "contenders": contenders, "fed": fed, "left_out": group.left_out}


def require_exported(group: Group) -> None:
    """Raise LeftOut where the exported step cannot be measured: the rest is compared with it."""
    if EXPORTED in group.left_out:
        raise LeftOut(f"the exported step does not run here: {group.left_out[EXPORTED]}")


def add_contenders(group: Group, exported: ExportedStep, options: argparse.Namespace) -> None:
    task = {"folder": options.folder, "made_state": options.made_state, "records": options.records}
    group.add(EXPORTED, partial(StepProcess, EXPORTED, "step_pjrt:PjrtStep", task), options.seconds)
    with tempfile.TemporaryDirectory(prefix="pjrt-step-") as folder:
        of = exported.task
        images = write_batch(Path(folder) / "batch.npz", of.batch, of.size, of.classes)
        for name, row in CONTENDERS.items():
            if options.torch and row.is_torch:
                arguments = {"task": of._replace(images=str(images)), **row.options}
                group.add(name, partial(StepProcess, name, row.make, arguments, options.torch_python), options.seconds)


def fed_round(group: Group, workers: int) -> dict[str, float]:
    """Images a second with so many workers, and the share of the time that the device waited for them, in percent."""
    figures = group.processes[EXPORTED].ask("fed", workers=workers, steps=group.steps[EXPORTED])
    rate = group.steps[EXPORTED] * group.batch / figures["seconds"]
    return {"rate": rate, "waiting_percent": 100 * figures["waiting"] / figures["seconds"]}


def print_report(report: dict[str, Any]) -> None:
    about = report["about"]
    device = report["contenders"][EXPORTED]["device"]
    replicas = f", {about['replicas']} replicas" if about["replicas"] > 1 else ""
    print(
        f"\nResNet-{about['depth']}, {about['batch']} images of {about['size']}x{about['size']} a step, "
        f"{about['precision']}, stride in the {about['stride_in']} convolution"
        f"{', deterministic' if about['deterministic'] else ''}"
        f"{replicas}"
        f"{', with made numbers as its state' if about['made_state'] else ''}; {device}; "
        f"{about['cores']} cores of {about['cpu']}, Python {about['python']}, load {about['load']:.1f}; median of "
        f"{about['rounds']} rounds of about {about['seconds']:g} s, alternating\n"
    )
    print("\n".join(table(report["contenders"], EXPORTED)))
    for name, reason in report["left_out"].items():
        print(f"Left out: {name}: {reason}")
    if report["fed"]:
        print("\n".join(["", *fed_table(report["fed"], report["contenders"][EXPORTED])]))
    if check := report["check"]:
        print(
            f"\nAfter {check['steps']} steps, the greatest difference from TensorFlow's XLA, relative to the greatest "
            f"number of a variable: {check['median']:.1e} (median of {check['variables']}), {check['greatest']:.1e} at "
            f"most ({check['name']})"
        )


def fed_table(fed: dict[int, list[dict[str, float]]], alone: dict[str, Any]) -> list[str]:
    """A Markdown table: images/s, the share of the rate without the loader (median over pairs of rounds), waiting."""
    rows = [["workers", "images/s: median (least to greatest)", "of the step alone", "waiting for images"], ["---"] * 4]
    for workers, rounds in fed.items():
        rates = [one["rate"] for one in rounds]
        share = statistics.median(100 * a / b for a, b in zip(rates, alone["rounds"], strict=True))
        waiting = statistics.median(one["waiting_percent"] for one in rounds)
        rate = f"{statistics.median(rates):,.1f} ({min(rates):,.1f} to {max(rates):,.1f})"
        rows.append([str(workers), rate, f"{share:.1f} %", f"{waiting:.1f} %"])
    return [f"| {' | '.join(row)} |" for row in rows]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", help="the export")
    parser.add_argument("--records", default="", metavar="FOLDER", help="records of JPEGs, as artifacts/records/NAME")
    parser.add_argument("--workers", type=_numbers, default=[1, 2, 4, 8, 16], help="how many, as in 1,2,4,8,16")
    parser.add_argument("--torch", action="store_true", help="measure PyTorch too")
    parser.add_argument(
        "--torch-python", default=sys.executable, metavar="PATH", help="the interpreter that has PyTorch; default: this"
    )
    parser.add_argument("--check", action="store_true", help="compare with TensorFlow's state after some steps")
    parser.add_argument("--made-state", action="store_true", help="time the step without the exported state")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10, help="of a round, about; at least one step is done")
    parser.add_argument("--json", help="write the results to this file too")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()

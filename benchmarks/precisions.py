"""What the precision of training is worth: the same recipes in several precisions, with several seeds each.

    python benchmarks/precisions.py                 digits and photographs, float32 and float16, 3 seeds each
    python benchmarks/precisions.py --tasks digits --precisions float32 bfloat16

Digits: the recipe `digits`. Photographs: `fine_tuning.py`'s crops of three photographs and those given, each a class; a
ResNet-18 is trained from scratch on crops of 64x64.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path

from fine_tuning import PRETRAINING, SMALL, photographs_of, write_images
from machine import machine
from train_step import PRECISIONS

from resnet.errors import UserError
from resnet.run import Run
from resnet.stages import run_stage

CROPS = 100, 40  # of each photograph, for training and for validation


def main() -> None:
    options, facts = _options(), machine()
    print(f"{facts['cores']} cores of {facts['cpu']}, Python {facts['python']}, load {facts['load']:.1f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="precisions-") as folder:
        root = Path(folder)
        if "photographs" in options.tasks:
            write_images(root / "images", photographs_of(options.photographs), *CROPS)
        for task, precision in itertools.product(options.tasks, options.precisions):
            errors = []
            for seed in range(1, options.seeds + 1):
                settings = [f"training.precision={precision}", f"training.seed={seed}", *options.override]
                start = time.perf_counter()
                try:
                    top1, skipped = train(root, task, f"{task}-{precision}-{seed}", settings)
                except UserError as error:
                    print(f"  {task}, {precision}, seed {seed} FAILED: {error}", flush=True)
                    continue
                errors.append(top1)
                print(
                    f"  {task}, {precision}, seed {seed}: {top1:.2f} % error after {time.perf_counter() - start:.0f} s"
                    f"{f', {skipped} steps skipped' if precision == 'float16' else ''}",
                    flush=True,
                )
            if errors:
                spread = f"standard deviation {statistics.stdev(errors):.2f}" if len(errors) > 1 else "one seed"
                print(f"{task}, {precision}: mean {statistics.mean(errors):.2f} % error, {spread}", flush=True)


def train(root: Path, task: str, name: str, settings: list[str]) -> tuple[float, int]:
    """Run every stage up to Evaluate; returns the top-1 error in percent, and how many steps were skipped."""
    if task == "digits":
        run = Run.of("digits", settings, name=name, artifacts=root / task)
    else:
        run = Run.of(
            "imagefolder", [*SMALL, *PRETRAINING, *settings], name=name, artifacts=root / task, data=root / "images"
        )
    for stage in ("convert", "train", "batchnorm", "evaluate"):
        run_stage(stage, run)
    metrics = json.loads((run.stage_folder("evaluate") / "metrics.json").read_text())
    lines = map(json.loads, (run.stage_folder("train") / "log.jsonl").read_text().splitlines())
    return metrics["views"]["1-crop"]["top1_error"], int(sum(line.get("skipped_steps", 0) for line in lines))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, nargs="*")
    parser.add_argument("--tasks", nargs="+", choices=("digits", "photographs"), default=["digits", "photographs"])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["float32", "float16"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--override", action="append", default=[], help="of both recipes")
    return parser.parse_args()


if __name__ == "__main__":
    main()

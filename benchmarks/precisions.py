"""What the precision of training is worth: the same recipes in several precisions, with several seeds each.

    python benchmarks/precisions.py                 digits and photographs, float32 and float16, 3 seeds each
    python benchmarks/precisions.py --tasks digits --precisions float32 bfloat16

Digits: the recipe `digits`. Photographs: `fine_tuning.py`'s crops of three photographs and those given, each a class; a
ResNet-18 is trained from scratch on crops of 64x64.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path

from machine import machine
from small_trainings import TASKS, prepare, spread, train
from train_step import PRECISIONS

from resnet.errors import UserError


def main() -> None:
    options, facts = _options(), machine()
    print(f"{facts['cores']} cores of {facts['cpu']}, Python {facts['python']}, load {facts['load']:.1f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="precisions-") as folder:
        root = Path(folder)
        prepare(root, options.tasks, options.photographs)
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
                print(f"{task}, {precision}: {spread(errors)}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, nargs="*")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["digits", "photographs"])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["float32", "float16"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--override", action="append", default=[], help="of both recipes")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""What the precision of training is worth: the same recipes in several precisions, with several seeds each.

    python benchmarks/precisions.py                 digits and photographs, float32 and float16, 3 seeds each
    python benchmarks/precisions.py --tasks digits --precisions float32 bfloat16

Digits: the recipe `digits`. Photographs: `fine_tuning.py`'s crops of three photographs and those given, each a class; a
ResNet-18 is trained from scratch on crops of 64x64.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from machine import machine
from small_trainings import TASKS, compare, prepare
from train_step import PRECISIONS


def main() -> None:
    options, facts = _options(), machine()
    print(f"{facts['cores']} cores of {facts['cpu']}, Python {facts['python']}, load {facts['load']:.1f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="precisions-") as folder:
        root = Path(folder)
        prepare(root, options.tasks, options.photographs)
        arms = {precision: [f"training.precision={precision}"] for precision in options.precisions}
        compare(root, options.tasks, arms, options.seeds, options.override)


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

"""Whether training waits for its images: steps on real images beside steps on one batch that stays in memory.

    python benchmarks/training_feed.py [--depth 20] [--size 32] [--batch 128]

Alternating rounds in one process, medians. Worth reading where the loader alone is well ahead of the step.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from input_pipeline import prepare

from resnet.artifacts import Machine
from resnet.loader.loader import Loader
from resnet.loader.order import TrainingOrder
from resnet.model.network import network_of
from resnet.records.shards import ShardedRecords
from resnet.settings import load_recipe
from resnet.training.distribution import make_strategy
from resnet.training.step import TrainStep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="a folder of JPEG files; default: made from scikit-learn's photographs")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=8, help="of a round")
    options = parser.parse_args()
    sizes = [f"training.{name}={options.batch}" for name in ("batch_size", "replica_batch_size")]
    scales = [
        f"augmentation.scale_{end}={int(options.size * times)}" for end, times in (("min", 8 / 7), ("max", 15 / 7))
    ]
    evaluation = f"evaluation.shorter_side={options.size}"
    model = [f"model.depth={options.depth}", f"model.image_size={options.size}", evaluation]
    _, recipe = load_recipe("imagenet-resnet50", [*sizes, *scales, *model])
    with tempfile.TemporaryDirectory(prefix="training-feed-") as folder:
        prepare(Path(folder), options)
        records = ShardedRecords(Path(folder) / "records", "train")
        strategy = make_strategy(Machine(), 1)
        with strategy.scope():
            step = TrainStep(network_of(recipe, 1000), strategy, recipe.training)
        order = TrainingOrder(len(records), options.batch, 0)
        with Loader(
            records,
            order,
            options.size,
            first_step=0,
            last_step=1 << 40,
            workers=options.workers,
            augmentation=recipe.augmentation,
        ) as loader:
            compare(loader, step, options)


def compare(loader: Loader, step: TrainStep, options: argparse.Namespace) -> None:
    batches = iter(loader)

    def real() -> None:
        batch = next(batches)
        float(step(batch.images, batch.labels, 0.001)[0])

    kept = next(batches)
    images, labels = kept.images, np.zeros(options.batch, np.int32)
    loading = _rate(lambda: next(batches), options, ready=8)
    float(step(images, labels, 0.001)[0])  # traces and compiles
    rates: dict[str, list[float]] = {"in memory": [], "real": []}
    for _ in range(options.rounds):
        rates["in memory"].append(_rate(lambda: float(step(images, labels, 0.001)[0]), options))
        rates["real"].append(_rate(real, options, ready=8))
    memory, fed = (statistics.median(rates[kind]) for kind in ("in memory", "real"))
    share = statistics.median(b / a for a, b in zip(rates["in memory"], rates["real"], strict=True))
    print(f"ResNet-{options.depth} at {options.size}x{options.size}, batches of {options.batch}")
    print(f"  the loader alone {loading:,.0f} images/s, {loading / memory:.1f} times the step's rate")
    print(f"  steps on a batch in memory {memory:,.1f} images/s, on real images {fed:,.1f}: {100 * share:.1f} %")


def _rate(work: Callable[[], object], options: argparse.Namespace, ready: int = 0) -> float:
    """Images a second; `ready` batches, made during the rest before, are not counted."""
    for _ in range(ready):
        work()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < options.seconds:
        work()
        count += 1
    return count * options.batch / (time.perf_counter() - start)


if __name__ == "__main__":
    main()

"""Whether training waits for its images: steps on real images beside steps on one batch that stays in memory.

    python benchmarks/training_feed.py                                ResNet-50 at 224x224 on photographs
    python benchmarks/training_feed.py --recipe digits                a recipe on its own images
    python benchmarks/training_feed.py --device-rate 2000 --batch 256 a device beside the CPU, as a GPU is

Alternating rounds in one process, medians. Worth reading where the loader alone is well ahead of the step. On a
CPU, step and loader share the cores: a step that keeps them all busy is slowed by what the loader takes. With
`--device-rate`, a step leaves the CPU alone and takes as long as a device that does so many images a second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from work import prepare

from resnet.loader.loader import MIN_SLOTS, Batch, Loader
from resnet.loader.sampler import TrainingSampler
from resnet.loader.transforms import Augment
from resnet.recipes import load_recipe
from resnet.records.shards import ShardedRecords
from resnet.run import Machine, Run
from resnet.settings import Recipe
from resnet.stages import run_stage
from resnet.training.feed import Feed


class Trained(NamedTuple):
    """What is trained: how a batch gets to the device, and a step on it, which ends when the device is done."""

    place: Callable[[Batch], Any]
    step: Callable[[Any], object]


def main() -> None:
    options = _options()
    sizes = [f"training.{name}={options.batch}" for name in ("batch_size", "replica_batch_size")]
    with tempfile.TemporaryDirectory(prefix="training-feed-") as folder:
        if options.recipe:
            run = Run.of(options.recipe, sizes, artifacts=folder, data=options.data)
            run_stage("convert", run)
            recipe, records = run.recipe, ShardedRecords(run.records, "train")
        else:
            _, recipe = load_recipe("imagenet-resnet50", sizes)
            options.size = recipe.model.image_size
            prepare(Path(folder), images=options.images, count=options.count, size=options.size)
            records = ShardedRecords(Path(folder) / "records", "train")
        trained = waiting_step(options) if options.device_rate else training_step(recipe, len(records.classes))
        with Loader(
            records,
            TrainingSampler(len(records), options.batch, 0),
            [Augment.of(recipe.augmentation, recipe.model.image_size)],
            recipe.model.image_size,
            first_step=0,
            last_step=1 << 40,
            workers=options.workers,
        ) as loader:
            figures = compare(iter(loader), trained, options)
    what = f"a device of {options.device_rate:,} images/s" if options.device_rate else f"ResNet-{recipe.model.depth}"
    print(f"{what} at {recipe.model.image_size}x{recipe.model.image_size}, batches of {options.batch}")
    loading, times, memory, fed, share = figures
    print(f"  the loader alone {loading:,.0f} images/s, {times:.1f} times the step's rate")
    print(f"  steps on a batch in memory {memory:,.1f} images/s, on real images {fed:,.1f}: {share:.1f} %")


def training_step(recipe: Recipe, classes: int) -> Trained:
    """A step of real training."""
    from resnet.devices import make_strategy
    from resnet.model.network import network_of
    from resnet.training.step import TrainStep

    strategy = make_strategy(Machine(), 1)
    with strategy.scope():
        step = TrainStep(network_of(recipe, max(classes, 2)), strategy, recipe.training)
    return Trained(
        lambda batch: step.place(batch.images, batch.labels), lambda placed: float(step.on(placed, 0.001)[0])
    )


def waiting_step(options: argparse.Namespace) -> Trained:
    """A step that another device does: the CPU waits for it."""
    return Trained(lambda batch: batch, lambda placed: time.sleep(options.batch / options.device_rate))


def compare(batches: Iterator[Batch], trained: Trained, options: argparse.Namespace) -> tuple[float, ...]:
    """Images a second: the loader alone and that by the step's, steps on memory and on real images, in percent."""

    lent = next(batches)
    kept = trained.place(lent._replace(images=np.array(lent.images)))
    del lent
    loading = _rate(lambda: next(batches), options, ready=2 * MIN_SLOTS)
    trained.step(kept)  # traces and compiles
    rates: dict[str, list[float]] = {"in memory": [], "real": []}
    with Feed(batches, trained.place) as feed:

        def real() -> None:
            feed.fetch()
            trained.step(feed.take())

        for _ in range(options.rounds):
            rates["in memory"].append(_rate(lambda: trained.step(kept), options))
            rates["real"].append(_rate(real, options, ready=MIN_SLOTS))
    memory, fed = (statistics.median(rates[kind]) for kind in ("in memory", "real"))
    share = statistics.median(b / a for a, b in zip(rates["in memory"], rates["real"], strict=True))
    return loading, loading / memory, memory, fed, 100 * share


def _rate(work: Callable[[], object], options: argparse.Namespace, ready: int = 0) -> float:
    """Images a second; `ready` batches, made during the rest before, are not counted."""
    for _ in range(ready):
        work()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < options.seconds:
        work()
        count += 1
    return count * options.batch / (time.perf_counter() - start)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", help="train this recipe's network on its own images")
    parser.add_argument("--data", default="", help="root of the recipe's images, where it needs one")
    parser.add_argument("--images", help="a folder of JPEG files; default: made from scikit-learn's photographs")
    parser.add_argument("--count", type=int, default=1000, help="photographs")
    parser.add_argument("--device-rate", type=int, default=0, help="images/s of a device to imitate")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10, help="of a round")
    return parser.parse_args()


if __name__ == "__main__":
    main()

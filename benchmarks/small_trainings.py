"""Trainings that a CPU finishes in minutes, to compare settings by the error that they end with."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from fine_tuning import PLAIN, PRETRAINING, SMALL, photographs_of, write_images

from resnet.errors import UserError
from resnet.run import Run
from resnet.stages import run_stage

TASKS = ("digits", "fashion-mnist", "photographs")
FOLDER = "folder"  # a further one: the user's own images
SMALL_IMAGES = ("model.image_size=48", "evaluation.shorter_side=48")  # of a ResNet-18, for images of a few dozen pixels
CROPS = 100, 40  # of each photograph, for training and for validation


def prepare(
    root: Path, tasks: Sequence[str], photographs: Sequence[Path], data: Path | None = None, suffix: str = ".png"
) -> None:
    """Write what the tasks need: crops of three photographs and those given, each a class, as files of the kind
    `suffix`; a link to other images."""
    if "photographs" in tasks:
        write_images(root / "images", photographs_of(photographs), *CROPS, suffix)
    if FOLDER in tasks:
        if data is None:
            raise SystemExit(f"error: the task '{FOLDER}' needs images: --data FOLDER")
        (root / "data").symlink_to(data.resolve())


def train(root: Path, task: str, name: str, settings: Sequence[str]) -> tuple[float, int]:
    """Run every stage up to Evaluate; returns the top-1 error in percent, and how many steps were skipped.

    Digits and Fashion-MNIST: the recipes of that name. Photographs: `imagefolder`'s ResNet-18 from scratch at 64x64
    pixels, for 8 epochs. A folder: the same at 48x48 pixels, for as many epochs as the recipe says. Both with PLAIN.
    """
    if task == FOLDER:
        run = Run.of(
            "imagefolder", [*PLAIN, *SMALL_IMAGES, *settings], name=name, artifacts=root / task, data=root / "data"
        )
    elif task == "photographs":
        run = Run.of(
            "imagefolder", [*SMALL, *PRETRAINING, *settings], name=name, artifacts=root / task, data=root / "images"
        )
    else:
        run = Run.of(task, settings, name=name, artifacts=root / task)
    for stage in ("convert", "train", "batchnorm", "evaluate"):
        run_stage(stage, run)
    metrics = json.loads((run.stage_folder("evaluate") / "metrics.json").read_text())
    lines = map(json.loads, (run.stage_folder("train") / "log.jsonl").read_text().splitlines())
    return metrics["views"]["1-crop"]["top1_error"], int(sum(line.get("skipped_steps", 0) for line in lines))


def compare(
    root: Path, tasks: Sequence[str], arms: Mapping[str, Sequence[str]], seeds: int, settings: Sequence[str] = ()
) -> None:
    """Train each task with each arm's settings, and those of all, with so many seeds; print the errors."""
    for task, (number, arm) in itertools.product(tasks, enumerate(arms)):
        errors = []
        for seed in range(1, seeds + 1):
            start = time.perf_counter()
            try:
                own = [*settings, *arms[arm], f"training.seed={seed}"]
                top1, skipped = train(root, task, f"{task}-{number}-{seed}", own)
            except UserError as error:
                print(f"  {task}, {arm}, seed {seed} FAILED: {error}", flush=True)
                continue
            errors.append(top1)
            seconds, skips = time.perf_counter() - start, f", {skipped} steps skipped" if skipped else ""
            print(f"  {task}, {arm}, seed {seed}: {top1:.2f} % error after {seconds:.0f} s{skips}", flush=True)
        if errors:
            print(f"{task}, {arm}: {spread(errors)}", flush=True)


def spread(errors: Sequence[float]) -> str:
    """Mean and standard deviation, for people."""
    deviation = f"standard deviation {statistics.stdev(errors):.2f}" if len(errors) > 1 else "one seed"
    return f"mean {statistics.mean(errors):.2f} % error, {deviation}"

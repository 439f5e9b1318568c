"""How much memory the evaluation of many images into many classes takes besides the network and the loader.

    python benchmarks/evaluation_memory.py [--images 50000] [--classes 21841] [--batch 64] [--keep FOLDER]

Makes random logits batch after batch, reduces each as evaluation and validation do, computes the scores, and prints how
much the process grew at most. With `--keep`, it also writes the logits to a file there, as evaluation does, and removes
it. With `--batches N`, only the first N batches: the growth hardly depends on how many.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from resnet.evaluation.logits_file import writing_logits
from resnet.inference import Answers, answers_of, joined, summary


def main() -> None:
    options = _options()
    sizes = [min(options.batch, options.images - start) for start in range(0, options.images, options.batch)]
    sizes = sizes[: options.batches or None]
    random = np.random.default_rng(0)
    _reduced(random, 8, 10)  # TensorFlow starts
    before, start = _greatest_megabytes(), time.perf_counter()
    with contextlib.ExitStack() as stack:
        keep = _nowhere
        if options.keep:
            path = options.keep / "logits.npy"
            stack.callback(path.unlink)
            keep = stack.enter_context(writing_logits(path, sum(sizes), options.classes))
        result = summary(joined([_reduced(random, size, options.classes, keep) for size in sizes]))
    seconds, megabytes = time.perf_counter() - start, _greatest_megabytes() - before
    logits = sum(sizes) * options.classes * 4 / 1e6
    print(f"{sum(sizes):,} images, {options.classes:,} classes, batches of {options.batch}: top-5 error", end=" ")
    print(f"{result['top5_error']:.2f} %; {seconds:.0f} s")
    print(f"the process grew by {megabytes:,.0f} MB at most; all logits would be {logits:,.0f} MB")


def _nowhere(logits: np.ndarray) -> None:
    pass


def _reduced(
    random: np.random.Generator, images: int, classes: int, keep: Callable[[np.ndarray], None] = _nowhere
) -> Answers:
    labels, logits = (
        random.integers(0, classes, images, np.int32),
        random.standard_normal((images, classes), np.float32),
    )
    keep(logits)
    return answers_of(logits, labels)


def _greatest_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=21_841)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--keep", type=Path, help="folder to write the logits to")
    parser.add_argument("--batches", type=int, default=0, help="only the first batches; 0: all")
    return parser.parse_args()


if __name__ == "__main__":
    main()

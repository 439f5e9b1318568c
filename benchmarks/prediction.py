"""Images a second of predict and of Evaluate, on the same photographs, with the same random weights.

    python benchmarks/prediction.py [--count 5000] [--depths 18 50] [--rounds 3] [--workers 2]

Makes JPEGs of 80 KB and records of them. Then, in turn, answers all files as `python -m resnet predict` does, and all
records as Evaluate does, `--rounds` times each. Importing TensorFlow and loading the weights are not counted; tracing
the network, starting Evaluate's workers and writing the answers are. Prints the medians, and the greatest difference
between the probabilities of the two.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import cv2
from photographs import photographs

from resnet.classifier import Classifier
from resnet.commands.prediction_lines import json_line
from resnet.devices import make_strategy
from resnet.evaluation.views import evaluate_view
from resnet.inference import Predictor
from resnet.loader.batches import block
from resnet.loader.files import ImageFile
from resnet.model.network import network_of
from resnet.records.shards import ShardedRecords
from resnet.run import Machine, Run
from resnet.stages import run_stage
from resnet.weights.safetensors_files import values

BYTES = (79_000, 89_000)  # 80 KB on average: see benchmarks/conversion.py


class Cost(NamedTuple):
    """Of one pass over the images."""

    rate: float  # images/s
    cpu: float  # ms an image; unlike the rate, it hardly depends on what else the machine does


def main() -> None:
    options = _options()
    cv2.setNumThreads(1)  # as the command does
    with tempfile.TemporaryDirectory(prefix="prediction-") as temporary:
        root = Path(temporary)
        _make_images(root / "images", options.count)
        for depth in options.depths:
            run = _converted(root, depth, options.workers)
            measure(run, options.rounds)


def measure(run: Run, rounds: int) -> None:
    """Print a line about one network."""
    records = ShardedRecords(run.records, "validation")
    files = [str(path) for path in sorted((run.data or Path()).glob("val/*/*"))]
    network = network_of(run.recipe, len(records.classes))
    classifier = Classifier(run.recipe, values(network.named_variables()), records.classes, Path("random weights"))
    costs: dict[str, list[Cost]] = {"predict": [], "Evaluate": []}
    for _ in range(rounds):
        before = _spent()
        predicted = _predict(classifier, files, run.machine.workers)
        costs["predict"].append(_cost(before, len(files)))
        before = _spent()
        evaluated = _evaluate(run, records, classifier)
        costs["Evaluate"].append(_cost(before, len(files)))
    difference = max(abs(predicted[file] - evaluated[file]) for file in evaluated)
    print(f"ResNet-{run.recipe.model.depth}, {len(files):,} photographs, {run.machine.workers} workers:")
    for name, of_rounds in costs.items():
        rates, cpu = zip(*of_rounds, strict=True)
        print(
            f"  {name}: {statistics.median(rates):.1f} images/s, median of {rounds} ({min(rates):.1f} to "
            f"{max(rates):.1f}); {statistics.median(cpu):.1f} ms of CPU an image"
        )
    print(f"  greatest difference of a probability: {difference:.1g}", flush=True)


def _spent() -> tuple[float, float]:
    """Seconds of the clock, and of CPU in this process and in those that it started and that have ended."""
    times = os.times()
    return time.perf_counter(), times.user + times.system + times.children_user + times.children_system


def _cost(before: tuple[float, float], images: int) -> Cost:
    seconds, cpu_seconds = (now - then for now, then in zip(_spent(), before, strict=True))
    return Cost(images / seconds, 1000 * cpu_seconds / images)


def _predict(classifier: Classifier, files: list[str], workers: int) -> dict[str, float]:
    """The greatest probability of each image by its name."""
    found = {}
    with open(os.devnull, "w", encoding="utf-8") as answers:
        for prediction in classifier.stream(map(ImageFile, files), workers=workers):
            print(json_line(prediction), file=answers)
            found[os.path.basename(prediction.file or "")] = prediction.top[0].probability
    return found


def _evaluate(run: Run, records: ShardedRecords, classifier: Classifier) -> dict[str, float]:
    with contextlib.redirect_stderr(io.StringIO()):
        predictor = Predictor(classifier.network, make_strategy(run.machine), block(records))
        seen = evaluate_view(run, records, predictor)
    first = seen.answers.probabilities[:, 0]
    return {os.path.basename(name): p for name, p in zip(seen.filenames, first, strict=True)}


def _make_images(folder: Path, count: int) -> None:
    for split, contents in (("val", photographs(count, BYTES)), ("train", photographs(2, BYTES))):
        for i, content in enumerate(contents):
            path = folder / split / f"class{i % 2}" / f"{i:06d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _converted(root: Path, depth: int, workers: int) -> Run:
    overrides = [f"model.depth={depth}", "records.train_shards=1", "records.validation_shards=8"]
    machine = Machine(workers=workers)
    run = Run.of("imagefolder", overrides, data=root / "images", artifacts=root / "artifacts", machine=machine)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run_stage("convert", run)
    return run


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000, help="photographs")
    parser.add_argument("--depths", type=int, nargs="+", default=[18, 50])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Images a second of this project's input pipeline beside others', on the same files, in one run, alternating.

    python benchmarks/input_pipeline.py [--images DIR] [--workers 2] [--color no] [--json FILE]

tf.data is always measured; tensorpack, DALI, PyTorch with Pillow and FFCV where they are installed (a folder of
packages can be given with --peers). Each pipeline lives in processes of its own, which are stopped while the
others are measured: they would use the time to make batches in advance.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from contenders import CONTENDERS, Work
from photographs import photographs

from resnet.images.decoding import decode
from resnet.images.stored import to_stored
from resnet.loader.color import BRIGHTNESS, CONTRAST, HUE, SATURATION
from resnet.loader.random_streams import draws
from resnet.loader.transforms import FLIP
from resnet.loader.views import scale_box
from resnet.processes import die_with_parent
from resnet.records.example import LabelledImage
from resnet.records.shards import Shard, write_classes
from resnet.settings import Augmentation

SETTLE = 8  # batches thrown away before each round: those that were made ready during the rest
SEED = 0


def main() -> None:
    options = _options()
    if options.contender:
        serve(options)
        return
    with tempfile.TemporaryDirectory(prefix="input-pipeline-") as folder:
        growth = prepare(Path(folder), options)
        print(f"{options.count:,} images; the indexed ones take {growth:+.2f} % bytes", flush=True)
        results = {}
        for color in (False, True) if options.color == "both" else (options.color == "yes",):
            results["with colour" if color else "no colour"] = measure(Path(folder), options, color)
    table(results, options)
    if options.json:
        Path(options.json).write_text(json.dumps({"growth_percent": growth, **results}, indent=1), encoding="utf-8")


def prepare(folder: Path, options: argparse.Namespace) -> float:
    """The same images as files, as records of them as they are, and as ours; returns what indexing adds, in percent."""
    if options.images:
        paths = sorted(path for path in Path(options.images).rglob("*") if path.is_file())[: options.count]
        encoded = [path.read_bytes() for path in paths]
    else:
        encoded = photographs(options.count)
    options.count = len(encoded)
    (folder / "files").mkdir()
    for i, content in enumerate(encoded):
        (folder / "files" / f"{i:06d}.jpg").write_bytes(content)
    shapes = [decode(content).shape[:2] for content in encoded]
    stored = [to_stored(content) for content in encoded]
    for name, contents in (("original", encoded), ("records", [image.encoded for image in stored])):
        (folder / name / "index").mkdir(parents=True)
        Shard(folder / name, "train-00000-of-00001").write(
            LabelledImage(content, "JPEG", height, width, 0, "photograph", "photograph", f"{i}.jpg")
            for i, (content, (height, width)) in enumerate(zip(contents, shapes, strict=True))
        )
        write_classes(folder / name, [("photograph", "photograph")])
    np.savez(folder / "drawn.npz", **drawn(shapes, options.size))
    return 100 * (sum(len(image.encoded) for image in stored) / sum(map(len, encoded)) - 1)


def drawn(shapes: list[tuple[int, int]], size: int) -> dict[str, np.ndarray]:
    """The recipe's random decisions, one for each image."""
    settings = Augmentation()
    numbers = draws(SEED, 0, 0, len(shapes))
    boxes = [
        scale_box(width, height, size, draw, settings.scale_min, settings.scale_max)
        for (height, width), draw in zip(shapes, numbers.tolist(), strict=True)
    ]
    between = numbers[:, [BRIGHTNESS, SATURATION, HUE, CONTRAST]]
    low, high = np.array([-32 / 255, 0.5, -0.1, 0.5]), np.array([32 / 255, 1.5, 0.1, 1.5])
    return {
        "boxes": np.array(boxes, np.int32),
        "flips": numbers[:, FLIP] < 0.5,
        "colors": (low + between * (high - low)).astype(np.float32),
    }


def measure(folder: Path, options: argparse.Namespace, color: bool) -> dict[str, dict[str, Any]]:
    """Every contender's rounds, one after the other in turn."""
    contenders = {}
    for name, (module, _) in CONTENDERS.items():
        if installed(module, options.peers) and (not options.only or name in options.only):
            try:
                contenders[name] = Contender(name, folder, options, color)
            except ChildProcessError as error:
                print(f"left out, {error}", flush=True)
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for number in range(options.rounds):
        for name, contender in contenders.items():
            rounds[name].append(contender.round())
            print(f"round {number + 1}, {name}: {rounds[name][-1]['rate']:,.0f} images/s", file=sys.stderr, flush=True)
    for contender in contenders.values():
        contender.close()
    return {
        name: {figure: statistics.median(one[figure] for one in all_rounds) for figure in all_rounds[0]}
        | {"rounds": [round(one["rate"], 1) for one in all_rounds]}
        for name, all_rounds in rounds.items()
    }


class Contender:
    """A pipeline in a process of its own: told to run for a round, it answers with its figures."""

    def __init__(self, name: str, folder: Path, options: argparse.Namespace, color: bool):
        command = [sys.executable, __file__, "--contender", name, "--folder", str(folder)]
        for option in ("size", "batch", "workers", "seconds"):
            command += [f"--{option}", str(getattr(options, option))]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [options.peers, os.environ.get("PYTHONPATH")]))
        self._name = name
        self._process = subprocess.Popen(
            [*command, "--color", "yes" if color else "no"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # a group of its own, to stop and to continue
        )
        self._answer()
        os.killpg(self._process.pid, signal.SIGSTOP)

    def round(self) -> dict[str, float]:
        assert self._process.stdin
        os.killpg(self._process.pid, signal.SIGCONT)
        self._process.stdin.write("round\n")
        self._process.stdin.flush()
        figures = self._answer()
        os.killpg(self._process.pid, signal.SIGSTOP)
        return figures

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise ChildProcessError(f"{self._name} ended with exit code {self._process.wait()}; its reason is above")

    def close(self) -> None:
        assert self._process.stdin
        os.killpg(self._process.pid, signal.SIGCONT)
        self._process.stdin.close()
        self._process.wait()


def serve(options: argparse.Namespace) -> None:
    """A contender's process: a round for every line of input."""
    die_with_parent(os.getppid())  # even while it is stopped
    cv2.setNumThreads(1)
    work = Work(
        Path(options.folder),
        options.size,
        options.batch,
        options.workers,
        options.color == "yes",
        **np.load(Path(options.folder) / "drawn.npz"),
    )
    batches = CONTENDERS[options.contender][1](work)
    next(batches)
    print("{}", flush=True)
    for _ in sys.stdin:
        for _ in range(SETTLE):
            next(batches)
        start, cpu, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - start < options.seconds:
            batch = next(batches)
            count += 1
            del batch
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        print(json.dumps({"rate": count * work.batch / seconds, "own_cpu_ms_a_batch": 1000 * cpu / count}), flush=True)
    batches.close()  # type: ignore[attr-defined]


def installed(module: str, peers: str | None) -> bool:
    if peers and (Path(peers) / module.replace(".", "/")).exists():
        return True
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def table(results: dict[str, dict[str, dict[str, Any]]], options: argparse.Namespace) -> None:
    what = f"{options.workers} workers, batches of {options.batch}, {options.count:,} images"
    print(f"\n{what}; median of {options.rounds} rounds of {options.seconds:g} s, alternating (least to greatest)")
    for kind, figures in results.items():
        print(f"\n{kind}:")
        peers = [f["rate"] for name, f in figures.items() if not name.startswith("resnet")]
        for name, figure in figures.items():
            rate, low, high = figure["rate"], min(figure["rounds"]), max(figure["rounds"])
            print(f"  {name:22} {rate:8,.0f} images/s  ({low:,.0f} to {high:,.0f})")
        if "resnet" in figures and peers:
            print(f"  {figures['resnet']['rate'] / max(peers):.2f} times the fastest peer")
        if {"resnet", "resnet, one process"} <= set(figures):
            ceiling = options.workers * figures["resnet, one process"]["rate"]
            print(f"  {100 * figures['resnet']['rate'] / ceiling:.0f} % of the ceiling, {ceiling:,.0f} images/s")
            print(f"  {figures['resnet']['own_cpu_ms_a_batch']:.1f} ms of the trainer's own CPU a batch")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="a folder of JPEG files; default: made from scikit-learn's photographs")
    parser.add_argument("--count", type=int, default=1000, help="images at most")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of a round")
    parser.add_argument("--color", choices=("yes", "no", "both"), default="both")
    parser.add_argument("--only", nargs="*", help=f"of {', '.join(CONTENDERS)}")
    parser.add_argument("--peers", help="a folder with packages of others, as pip install --target makes it")
    parser.add_argument("--json", help="write the figures to this file too")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

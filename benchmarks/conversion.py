"""Images a second of conversion with its proof, and where the time goes.

    python benchmarks/conversion.py [--images DIR] [--count 4000] [--workers 2] [--json FILE]

Runs the real stage on a folder of JPEGs, `--rounds` times, then each of its parts alone in one process.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
from photographs import photographs

from resnet.images.decoding import decode
from resnet.images.restarts import insert_restarts
from resnet.images.stored import to_stored
from resnet.run import Machine, Run
from resnet.stages import ledger_of, run_stage

BYTES = (79_000, 89_000)  # each image takes the greatest quality below a number in between: 80 KB on average


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="conversion-") as temporary:
        images = Path(options.images) if options.images else _make_images(Path(temporary) / "images", options.count)
        files = [path.read_bytes() for path in sorted(images.rglob("*")) if path.is_file()][: options.count]
        rates = [
            _convert(images, Path(temporary) / f"artifacts-{i}", options.workers) for i in range(options.rounds + 1)
        ]
    cv2.setNumThreads(1)
    sample = files[:: max(len(files) // 300, 1)]
    stored = [to_stored(file) for file in sample]
    figures = {
        "images_per_second": statistics.median(rates[1:]),  # the first round compiles what numba keeps
        "rounds": [round(rate, 1) for rate in rates[1:]],
        "mean_bytes": sum(map(len, files)) / len(files),
        "growth_percent": 100 * (sum(len(one.encoded) for one in stored) / sum(map(len, sample)) - 1),
        "indexed": sum(not one.left_whole and one.format == "JPEG" for one in stored) / len(stored),
        "decode_ms": _milliseconds(decode, sample),
        "insert_restarts_ms": _milliseconds(insert_restarts, sample),
        "with_proof_ms": _milliseconds(to_stored, sample),
    }
    low, high = min(rates[1:]), max(rates[1:])
    print(f"{options.workers} workers, {len(files):,} JPEGs of {figures['mean_bytes'] / 1000:.0f} KB on average")
    print(f"  {figures['images_per_second']:,.0f} images/s, median of {options.rounds} ({low:,.0f} to {high:,.0f})")
    print(f"  {figures['growth_percent']:+.2f} % bytes; {100 * figures['indexed']:.0f} % of the files are indexed")
    parts = {"decoding": "decode_ms", "markers": "insert_restarts_ms", "all with the proof": "with_proof_ms"}
    print("  one image in one process:", ", ".join(f"{part} {figures[name]:.2f} ms" for part, name in parts.items()))
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1), encoding="utf-8")


def _make_images(folder: Path, count: int) -> Path:
    for i, content in enumerate(photographs(count, BYTES)):
        path = folder / f"class{i % 2}" / f"{i:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def _convert(images: Path, artifacts: Path, workers: int) -> float:
    overrides = ["records.train_shards=8", "records.validation_shards=2", "records.max_rejected=1000000"]
    run = Run.of("imagefolder", overrides, data=images, artifacts=artifacts, machine=Machine(workers=workers))
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run_stage("convert", run)
    seconds = time.perf_counter() - start
    return sum(ledger_of(run).finished("convert")["images"].values()) / seconds


def _milliseconds(work: Callable[[bytes], object], files: list[bytes], rounds: int = 5) -> float:
    """Median over rounds of the mean time of one file."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for file in files:
            work(file)
        times.append(1000 * (time.perf_counter() - start) / len(files))
    return statistics.median(times)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="a folder of classes of JPEG files; default: made from scikit-learn's")
    parser.add_argument("--count", type=int, default=4000, help="images to make")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="write the figures to this file too")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""What worker processes cost, and how images a second grow with their number.

    python benchmarks/workers.py [--workers 1 2 4 8 16] [--json FILE]

Needs no TensorFlow. Prints, for each number of workers, images a second (median of rounds, alternating) and what share
this is of that many times one worker's rate; a worker's time to start and its memory, without the ring that all share.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from work import prepare

from resnet.loader.loader import Loader
from resnet.loader.sampler import TrainingSampler
from resnet.loader.transforms import Augment
from resnet.records.shards import ShardedRecords
from resnet.settings import Augmentation

SETTLE = 8  # batches that are not counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, len(os.sched_getaffinity(0))])
    parser.add_argument("--images", help="a folder of JPEG files; default: made from scikit-learn's photographs")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--json", help="write the figures to this file too")
    options = parser.parse_args()
    rounds: dict[int, list[dict[str, float]]] = {workers: [] for workers in options.workers}
    with tempfile.TemporaryDirectory(prefix="workers-") as folder:
        prepare(Path(folder), images=options.images, count=options.count, size=options.size)
        records = ShardedRecords(Path(folder) / "records", "train")
        for _ in range(options.rounds):
            for workers, figures in rounds.items():
                figures.append(measure(records, workers, options))
    medians = {
        workers: {name: statistics.median(one[name] for one in figures) for name in figures[0]}
        for workers, figures in rounds.items()
    }
    first = min(medians)
    for workers, figure in medians.items():
        share = figure["images_per_second"] / (medians[first]["images_per_second"] * workers / first)
        print(
            f"{workers:3} workers: {figure['images_per_second']:8,.0f} images/s, {100 * share:.0f} % of linear; "
            f"first batch after {figure['first_batch_s']:.2f} s; {figure['start_s']:.2f} s to start and "
            f"{figure['worker_mb']:.0f} MB a worker; {figure['trainer_ms']:.1f} ms of the trainer's CPU a batch"
        )
    if options.json:
        Path(options.json).write_text(json.dumps(medians, indent=1), encoding="utf-8")


def measure(records: ShardedRecords, workers: int, options: argparse.Namespace) -> dict[str, float]:
    begun = time.perf_counter()
    sampler, transforms = TrainingSampler(len(records), options.batch, 0), [Augment.of(Augmentation(), 224)]
    with Loader(records, sampler, transforms, options.size, first_step=0, last_step=1 << 40, workers=workers) as loader:
        pool = loader.pool
        while not (len(pool.workers) == workers and all(worker.identity for worker in pool.workers)):
            time.sleep(0.005)
        started = time.perf_counter() - begun
        batches = iter(loader)
        next(batches)
        first_batch = time.perf_counter() - begun
        for _ in range(SETTLE):
            next(batches)
        start, cpu, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - start < options.seconds:
            next(batches)
            count += 1
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        memory = statistics.mean(own_memory(worker.process.pid) for worker in pool.workers)
    return {
        "images_per_second": count * options.batch / seconds,
        "start_s": started,
        "first_batch_s": first_batch,
        "worker_mb": memory,
        "trainer_ms": 1000 * cpu / count,
    }


def own_memory(process: int) -> float:
    """Resident megabytes of a process, without the shared memory of the ring."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssFile")) * 1024 / 1e6


if __name__ == "__main__":
    main()

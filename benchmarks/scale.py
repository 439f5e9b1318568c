"""What a million images, and fourteen, cost in time and memory.

    python benchmarks/scale.py [--images 1280000] [--entries 14000000] [--folder DIR]

Makes that many tiny JPEGs in a thousand folders (4 KB of disk each, in DIR or a temporary folder), converts them with
the real stage, and prints the greatest memory of its main process and of a worker; then the memory and time of what
else grows with a data set, for `--entries` images: the list of their names, the plan of the shards, their index, the
sampling order of an epoch.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

CLASSES = 1000


def main() -> None:
    options = _options()
    if options.alone:
        print(*PARTS[options.alone](options.entries))
        return
    if options.images:
        with tempfile.TemporaryDirectory(prefix="scale-", dir=options.folder) as temporary:
            convert(Path(temporary), options.images, options.workers)
    print(f"\n{options.entries:,} images, each part in a process of its own:")
    for part in PARTS:
        command = [sys.executable, __file__, "--alone", part, "--entries", str(options.entries)]
        seconds, megabytes = map(float, subprocess.run(command, check=True, capture_output=True).stdout.split())
        print(f"  {part}: {seconds:.2f} s, {megabytes:,.0f} MB")


def convert(folder: Path, images: int, workers: int) -> None:
    begun = time.perf_counter()
    _make_images(folder / "images", images)
    print(f"{images:,} tiny JPEGs made in {time.perf_counter() - begun:.0f} s", flush=True)
    overrides = ["records.train_shards=1024", "records.validation_shards=128"]
    command = [sys.executable, "-m", "resnet", "convert", "--recipe", "imagefolder", "--data", folder / "images"]
    command += ["--artifacts", folder / "artifacts", "--workers", str(workers)]
    for override in overrides:
        command += ["--override", override]
    begun = time.perf_counter()
    process = subprocess.Popen(command)
    greatest: dict[str, float] = {}
    ended = threading.Event()
    watching = threading.Thread(target=_watch, args=(process.pid, greatest, ended))
    watching.start()
    code = process.wait()
    ended.set()
    watching.join()
    seconds = time.perf_counter() - begun
    print(f"converted in {seconds:.0f} s ({images / seconds:,.0f} images/s), exit code {code}")
    print(", ".join(f"{who} {megabytes:,.0f} MB at most" for who, megabytes in greatest.items()))


def _make_images(folder: Path, count: int) -> None:
    random = np.random.default_rng(0)
    kinds = [cv2.imencode(".jpg", random.integers(0, 256, (16, 16, 3), np.uint8))[1].tobytes() for _ in range(CLASSES)]
    for label, content in enumerate(kinds):
        (folder / f"n{label:08d}").mkdir(parents=True)
        for i in range(label, count, CLASSES):
            (folder / f"n{label:08d}" / f"n{label:08d}_{i}.JPEG").write_bytes(content)


def _watch(process: int, greatest: dict[str, float], ended: threading.Event) -> None:
    """Note the greatest resident memory of a process and of its children, four times a second."""
    while not ended.wait(0.25):
        for who, processes in (("main process", [process]), ("a worker", _children(process))):
            for one in processes:
                greatest[who] = max(greatest.get(who, 0.0), _resident(one))


def _children(process: int) -> Iterator[int]:
    try:
        yield from map(int, Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split())
    except OSError:  # it ended
        return


def _resident(process: int) -> float:
    try:
        pages = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0.0
    return int(pages) * os.sysconf("SC_PAGESIZE") / 1e6


def _measured(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and megabytes that the process grew by at most."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    kept = work()
    seconds = time.perf_counter() - start
    del kept
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6


def _list(entries: int) -> tuple[float, float]:
    from resnet.datasets.source import FileNames

    return _measured(lambda: FileNames(f"n{i % CLASSES:08d}_{i}.JPEG" for i in range(entries)))


def _plan(entries: int) -> tuple[float, float]:
    from resnet.conversion.plan import assign

    return _measured(lambda: assign(entries, 1024, 0))


def _index(entries: int) -> tuple[float, float]:
    from resnet.records.shards import INDEX_TYPE, ShardedRecords, shard_name, write_classes

    with tempfile.TemporaryDirectory(prefix="scale-") as temporary:
        folder = Path(temporary)
        (folder / "index").mkdir()
        write_classes(folder, [("class", "class")])
        for number in range(1024):
            index = np.zeros(entries // 1024 + (number < entries % 1024), INDEX_TYPE)
            np.save(folder / "index" / f"{shard_name('train', number, 1024)}.npy", index)
        return _measured(lambda: ShardedRecords(folder, "train"))


def _sampling_order(entries: int) -> tuple[float, float]:
    from resnet.loader.sampler import permutation

    return _measured(lambda: permutation(0, 0, entries))


PARTS: dict[str, Callable[[int], tuple[float, float]]] = {
    "the list of their names": _list,
    "which image goes to which shard": _plan,
    "their index in a trainer": _index,
    "the sampling order of an epoch": _sampling_order,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_280_000, help="to convert; 0 leaves this out")
    parser.add_argument("--entries", type=int, default=14_000_000)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--folder", help="where there is room for the images")
    parser.add_argument("--alone", choices=PARTS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

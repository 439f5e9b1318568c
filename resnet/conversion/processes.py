"""The processes that write shards, in parallel. Each shard is written by one of them.

A process that ends is replaced, and its shard is written again (see `resnet.workers.pool`). When the conversion ends,
for whatever reason, its processes end, and the shards that are finished are kept.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

from resnet.conversion.messages import COMPILE, Setup, ShardJob, describe
from resnet.conversion.plan import PlannedShard, finished, plan
from resnet.datasets.source import Dataset
from resnet.images.stored import JPEG
from resnet.progress import Progress
from resnet.run import Run
from resnet.workers.pool import Work, WorkerPool

logger = logging.getLogger(__name__)

COMPILE_SECONDS = 3.0  # kernels that were compiled before load sooner
STALLED_SECONDS = 600.0  # on one image, one compilation, or the end of a shard on a slow disk


def write_shards(run: Run, dataset: Dataset, part: slice = slice(None)) -> dict[str, dict[str, Any]]:
    """Write the shards that are missing; return every shard's summary by name, in order.

    `part` selects some of the shards: see `plan`.
    """
    records, workers = run.recipe.records, run.machine.workers
    planned = plan(dataset, records, part)
    summaries = {shard.name: finished(shard, run.records, records.max_rejected > 0) for shard in planned}
    missing = [shard for shard in planned if summaries[shard.name] is None]
    if missing:
        total, todo = (sum(len(shard.members) for shard in some) for some in (planned, missing))
        with WorkerPool(workers, _work(Setup(run.records, list(dataset.classes)))) as pool:
            _wait_for_kernels(pool, workers, missing)
            with Progress("converting", total, "images", done=total - todo) as progress:
                for name, summary in _in_parallel(pool, missing, 2 * workers):
                    summaries[name] = summary
                    progress.advance(summary["records"] + len(summary["rejected"]))
    return {name: summary for name, summary in summaries.items() if summary}


def _work(setup: Setup) -> Work:
    return Work(
        name="the conversion",
        module="resnet.conversion.worker",
        setup=[setup.pack()],
        describe=describe,
        remedy="If memory ran out (see dmesg), fewer workers in luigi.cfg need less. Finished shards are kept.",
        stalled_seconds=STALLED_SECONDS,
    )


def _wait_for_kernels(pool: WorkerPool, workers: int, shards: list[PlannedShard]) -> None:
    """Have every process load or compile the kernels before the progress bar starts. Say so where it takes long."""
    first = next((shard.split.image(int(shard.members[0])) for shard in shards if len(shard.members)), None)
    try:
        if first is None or first.read()[: len(JPEG)] != JPEG:
            return
    except OSError:  # it will be rejected; if others are JPEGs, their kernels are compiled on the way
        return
    started, is_said = time.monotonic(), False
    waiting = {pool.submit([COMPILE]) for _ in range(workers)}
    while waiting:
        waiting -= {number for number, _ in pool.done()}
        if waiting and not is_said and time.monotonic() - started >= COMPILE_SECONDS:
            logger.info("compiling the JPEG kernels: 10 to 20 s, the first time on a machine")
            is_said = True


def _in_parallel(pool: WorkerPool, shards: list[PlannedShard], ahead: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and summary of each shard, in whatever order they are done.

    At most `ahead` of them are given out at a time, and their images listed: not a million at once.
    """
    todo, names = iter(shards), {}
    for shard in itertools.islice(todo, ahead):
        names[_submit(pool, shard)] = shard.name
    while names:
        for number, (summary,) in pool.done():
            yield names.pop(number), json.loads(summary)
            for shard in itertools.islice(todo, 1):
                names[_submit(pool, shard)] = shard.name


def _submit(pool: WorkerPool, shard: PlannedShard) -> int:
    images = [(shard.split.image(int(i)), int(shard.split.labels[i])) for i in shard.members]
    return pool.submit(ShardJob(shard.name, images, shard.digest).pack())

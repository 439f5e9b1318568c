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
from resnet.conversion.plan import PlannedShard
from resnet.datasets.source import Dataset
from resnet.images.stored import JPEG
from resnet.run import Run
from resnet.workers.pool import Work, WorkerPool

logger = logging.getLogger(__name__)

COMPILE_SECONDS = 3.0  # kernels that were compiled before load sooner
STALLED_SECONDS = 600.0  # on one image, one compilation, or the end of a shard on a slow disk


def pool_of(run: Run, dataset: Dataset) -> WorkerPool:
    """The conversion's processes, as a context manager."""
    setup = Setup(run.records, list(dataset.classes), run.recipe.records.max_megapixels)
    work = Work(
        name="the conversion",
        module="resnet.conversion.worker",
        setup=[setup.pack()],
        describe=describe,
        remedy="If memory ran out (see dmesg), fewer workers in luigi.cfg need less. Finished shards are kept.",
        stalled_seconds=STALLED_SECONDS,
    )
    return WorkerPool(run.machine.workers, work)


def wait_for_kernels(pool: WorkerPool, workers: int, shards: list[PlannedShard]) -> None:
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


def in_parallel(
    pool: WorkerPool, kind: bytes, shards: list[PlannedShard], ahead: int
) -> Iterator[tuple[PlannedShard, dict[str, Any]]]:
    """Have each shard written (WRITE) or looked at (LOOK); yield it with the result, in whatever order they are done.

    At most `ahead` of them are given out at a time, and their images listed: not a million at once.
    """
    todo, given = iter(shards), {}
    for shard in itertools.islice(todo, ahead):
        given[_submit(pool, kind, shard)] = shard
    while given:
        for number, (result,) in pool.done():
            yield given.pop(number), json.loads(result)
            for shard in itertools.islice(todo, 1):
                given[_submit(pool, kind, shard)] = shard


def _submit(pool: WorkerPool, kind: bytes, shard: PlannedShard) -> int:
    images = [(shard.split.image(int(i)), int(shard.split.labels[i])) for i in shard.members]
    return pool.submit([kind, *ShardJob(shard.name, images, shard.digest).pack()])

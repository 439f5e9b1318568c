"""The processes that write shards, in parallel. Each shard is written by one of them."""

from __future__ import annotations

import concurrent.futures as futures
import contextlib
import itertools
import logging
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from resnet.conversion.plan import PlannedShard, finished, plan
from resnet.conversion.shard_writer import compile_kernels, start_process, write_shard
from resnet.datasets.source import Dataset
from resnet.errors import UserError
from resnet.images.stored import JPEG
from resnet.progress import Progress
from resnet.run import Run

logger = logging.getLogger(__name__)

COMPILE_SECONDS = 3.0  # kernels that were compiled before load sooner


def write_shards(run: Run, dataset: Dataset, part: slice = slice(None)) -> dict[str, dict[str, Any]]:
    """Write the shards that are missing; return every shard's summary by name, in order.

    `part` selects some of the shards: see `plan`.
    """
    records = run.recipe.records
    planned = plan(dataset, records, part)
    summaries = {shard.name: finished(shard, run.records, records.max_rejected > 0) for shard in planned}
    missing = [shard for shard in planned if summaries[shard.name] is None]
    if missing:
        total, todo = (sum(len(shard.members) for shard in some) for some in (planned, missing))
        with _pool(run.machine.workers) as pool:
            _wait_for_kernels(pool, run.machine.workers, missing)
            with Progress("converting", total, "images", done=total - todo) as progress:
                for name, summary in _in_parallel(pool, _jobs(run, dataset, missing), 2 * run.machine.workers):
                    summaries[name] = summary
                    progress.advance(summary["records"] + len(summary["rejected"]))
    return {name: summary for name, summary in summaries.items() if summary}


def _jobs(run: Run, dataset: Dataset, shards: list[PlannedShard]) -> Iterator[tuple[Any, ...]]:
    for name, split, members, digest in shards:  # a shard's list at a time, not a million at once
        listed = [(split.image(int(i)), int(split.labels[i])) for i in members]
        yield run.records, name, listed, list(dataset.classes), digest, run.recipe.records.max_megapixels


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[futures.ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")  # OpenCV forked after it used its threads can deadlock
    try:
        with futures.ProcessPoolExecutor(workers, context, start_process, (os.getpid(),)) as pool:
            yield pool
    except BrokenProcessPool:
        raise UserError(
            "a conversion process was killed: by hand, or by the kernel because memory ran out (see dmesg). "
            "Finished shards are kept; fewer workers in luigi.cfg need less memory."
        ) from None


def _wait_for_kernels(pool: futures.ProcessPoolExecutor, workers: int, shards: list[PlannedShard]) -> None:
    """Have every process load or compile the kernels before the progress bar starts. Say so where it takes long."""
    first = next((shard.split.image(int(shard.members[0])) for shard in shards if len(shard.members)), None)
    try:
        if first is None or first.read()[: len(JPEG)] != JPEG:
            return
    except OSError:  # it will be rejected; if others are JPEGs, their kernels are compiled on the way
        return
    compiled = [pool.submit(compile_kernels) for _ in range(workers)]
    if futures.wait(compiled, COMPILE_SECONDS).not_done:
        logger.info("compiling the JPEG kernels: 10 to 20 s, the first time on a machine")
    for one in compiled:
        one.result()


def _in_parallel(
    pool: futures.ProcessPoolExecutor, jobs: Iterator[tuple[Any, ...]], ahead: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """`write_shard` of each job, in whatever order they are done; at most `ahead` of them are given out at a time."""
    waiting = {pool.submit(write_shard, *job) for job in itertools.islice(jobs, ahead)}
    while waiting:
        done, waiting = futures.wait(waiting, return_when=futures.FIRST_COMPLETED)
        for future in done:
            yield future.result()
        waiting |= {pool.submit(write_shard, *job) for job in itertools.islice(jobs, len(done))}

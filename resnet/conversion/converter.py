"""Brings the shards of a data set up to date: keeps what is there, and writes what is missing or of other images."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from resnet.conversion.messages import WRITE
from resnet.conversion.plan import PlannedShard, plan
from resnet.conversion.processes import in_parallel, pool_of, wait_for_kernels
from resnet.conversion.space import require_space
from resnet.conversion.survey import Survey, survey
from resnet.datasets.source import Dataset
from resnet.progress import Progress
from resnet.records.shards import Shard
from resnet.run import Run


class Converter:
    """`part` selects some of the shards: see `plan`. `same_listing`: see `survey`."""

    def __init__(self, run: Run, dataset: Dataset, same_listing: bool, part: slice = slice(None)):
        self._run, self._dataset, self._same_listing, self._part = run, dataset, same_listing, part

    @cached_property
    def _planned(self) -> list[PlannedShard]:
        return plan(self._dataset, self._run.recipe.records, self._part)

    @cached_property
    def _survey(self) -> Survey:
        return survey(self._run, self._dataset, self._planned, self._same_listing)

    def changed_files(self) -> list[Path]:
        """The files of the shards whose images have changed."""
        return [path for planned in self._survey.changed for path in Shard(self._run.records, planned.name).files()]

    @property
    def kept_all(self) -> bool:
        """Whether every shard was there, made from the images of today."""
        return not self._survey.to_write

    def write(self) -> dict[str, dict[str, Any]]:
        """Write the shards that are to be written; return every shard's summary by name, in order."""
        workers = self._run.machine.workers
        summaries, todo = dict(self._survey.kept), self._survey.to_write
        if todo:
            require_space(self._run.records, todo)
            total, left = (sum(len(shard.members) for shard in some) for some in (self._planned, todo))
            with pool_of(self._run, self._dataset) as pool:
                wait_for_kernels(pool, workers, todo)
                with Progress("converting", total, "images", done=total - left) as progress:
                    for shard, summary in in_parallel(pool, WRITE, todo, 2 * workers):
                        summaries[shard.name] = summary
                        progress.advance(summary["records"] + len(summary["rejected"]))
        return {shard.name: summaries[shard.name] for shard in self._planned}

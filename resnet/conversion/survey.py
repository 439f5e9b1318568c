"""Which shards are there already, made from the images that are wanted now."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

from resnet.conversion.made_from import stamp_of
from resnet.conversion.messages import LOOK
from resnet.conversion.plan import PlannedShard
from resnet.conversion.processes import in_parallel, pool_of
from resnet.datasets.source import Dataset, Image, with_stamps
from resnet.progress import Progress
from resnet.records.shards import Shard
from resnet.run import Run

logger = logging.getLogger(__name__)


class Survey(NamedTuple):
    """The planned shards, by what is to be done about them."""

    kept: dict[str, dict[str, Any]]  # their summaries, by name
    changed: list[PlannedShard]  # they are there, made from other images
    unfinished: list[PlannedShard]  # they are not there, or have images that could not be read and may have been mended

    @property
    def to_write(self) -> list[PlannedShard]:
        return [*self.changed, *self.unfinished]


def survey(run: Run, dataset: Dataset, planned: list[PlannedShard], same_listing: bool) -> Survey:
    """Compare the shards with their images. Images whose stamp is another one are read again, in parallel.

    `same_listing`: whether the images have the names and sizes that they had. Shards of earlier versions do not say
    what they were made from: they are kept only then.
    """
    found, to_look = Survey({}, [], []), []
    for shard in planned:
        summary = Shard(run.records, shard.name).summary()
        if summary is None or (summary["rejected"] and not run.recipe.records.max_rejected):
            found.unfinished.append(shard)
        elif summary.get("list") != shard.digest or not ("made_from" in summary or same_listing):
            found.changed.append(shard)
        else:
            found.kept[shard.name] = summary
            if "made_from" in summary and stamp_of(images(shard)) not in summary["made_from"]["stamps"]:
                to_look.append(shard)
    if to_look:
        _look(run, dataset, to_look, found)
    return found


def _look(run: Run, dataset: Dataset, shards: list[PlannedShard], found: Survey) -> None:
    """Keep the shards whose images turn out to be the same, and add the stamp, so that they are not read again."""
    total, changed_before = sum(len(shard.members) for shard in shards), len(found.changed)
    with pool_of(run, dataset) as pool, Progress("looking at images again", total, "images") as progress:
        for shard, facts in in_parallel(pool, LOOK, shards, 2 * run.machine.workers):
            summary = found.kept[shard.name]
            made_from = summary["made_from"]
            if facts["content"] == made_from["content"]:
                made_from["stamps"] = with_stamps(made_from["stamps"], facts["stamps"])
                Shard(run.records, shard.name).write_summary(summary)
            else:
                del found.kept[shard.name]
                found.changed.append(shard)
            progress.advance(len(shard.members))
    same = len(shards) - (len(found.changed) - changed_before)
    logger.info("the times of images differ; %d of %d shards have the same images and are kept", same, len(shards))


def images(shard: PlannedShard) -> Iterator[Image]:
    """The images of a shard, in its order."""
    return (shard.split.image(int(i)) for i in shard.members)

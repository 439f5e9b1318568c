"""ConvertRecords: every image of a data set decoded once, and written to the shard that the seed assigns it to.

A shard is either complete or not there. A second attempt makes only those that are missing, or whose images changed.
"""

from __future__ import annotations

from functools import partial

from resnet import datasets
from resnet.conversion.converter import Converter
from resnet.conversion.in_place import link_shards, superseded
from resnet.conversion.outcome import Outcome
from resnet.datasets.source import Dataset
from resnet.errors import UserError
from resnet.files import make_folder
from resnet.ledger import Attempt, Ledger
from resnet.ledger.locking import converting_part
from resnet.records.shards import write_classes
from resnet.run import Run


def main(run: Run, attempt: Attempt) -> None:
    """List the images, write the shards, and account for every image."""
    dataset = load(run, attempt.ledger)
    folder, records = attempt.folder, run.recipe.records
    converter = Converter(run, dataset, attempt.ledger.is_listing_unchanged())
    attempt.begin(partial(superseded, folder, dataset) if records.in_place else converter.changed_files)
    make_folder(folder / "index")
    summaries = link_shards(folder, dataset) if records.in_place else converter.write()
    outcome = Outcome(summaries, dataset.ignored)
    lists = outcome.write_lists(folder)
    outcome.check_rejected(records.max_rejected, folder)
    outcome.print(folder)
    classes = write_classes(folder, dataset.classes)
    attempt.finish(
        [*(folder / name for name in outcome.checksums), classes],
        byproducts=lists,
        checksums=outcome.checksums,
        same_images=not records.in_place and converter.kept_all,
        **outcome.facts(),
        seeds={"records.seed": records.seed, "dataset.split_seed": run.recipe.dataset.split_seed},
    )


def convert_part(run: Run, ledger: Ledger, part: int) -> None:
    """Write every `records.parts`-th shard, from the `part`-th on. `main` finds them done.

    Several hosts can make parts at a time, in the same folder; none waits for another.
    """
    parts = run.recipe.records.parts
    if not 0 <= part < parts:
        raise UserError(f"part {part}: records.parts is {parts}, and parts are counted from 0")
    if ledger.part_is_done(part):
        return
    dataset = load(run, ledger)
    same_listing = ledger.is_listing_unchanged()
    with converting_part(ledger, part, Converter(run, dataset, same_listing).changed_files):
        make_folder(run.records / "index")
        Converter(run, dataset, same_listing, slice(part, None, parts)).write()


def load(run: Run, ledger: Ledger) -> Dataset:
    """List the images. They may be downloaded for that.

    Otherwise the ledger keeps the fingerprint from before: what changes while they are listed is noticed next time.
    """
    not_there_yet = ledger.source is None
    dataset = datasets.load(run.recipe.dataset, run.data, run.artifacts)
    if not_there_yet:
        ledger.forget_images()
    return dataset

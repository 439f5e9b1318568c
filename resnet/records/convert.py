"""ConvertRecords: every image of a data set decoded once, and written to a shard that its seed decides.

Images go to shards by one random permutation a split, so that shards are statistically alike: shards in the order of
the classes cost others three points of accuracy. Each shard is written by one process and is either whole or not
there; a second attempt makes only those that are missing.
"""

from __future__ import annotations

import concurrent.futures as futures
import csv
import hashlib
import itertools
import math
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from resnet import datasets
from resnet.artifacts import Run
from resnet.datasets.images import Dataset, Image, Split
from resnet.errors import UserError
from resnet.files import atomic, held, make_folder
from resnet.processes import die_with_parent, keep_freed_memory
from resnet.progress import Progress
from resnet.records.example import LabelledImage
from resnet.records.image_files import Unreadable
from resnet.records.shards import INDEX_TYPE, SPLITS, Shard, shard_name, write_classes
from resnet.records.stored import to_stored


def convert(run: Run) -> None:
    """The stage: a data set's images, as records."""
    folder = run.records
    with held(folder, wait=math.inf):  # two runs on the same images: the second waits, and finds the work done
        if not run.why_incomplete("convert"):
            return
        dataset = _load(run)
        begun = run.begin("convert")
        make_folder(folder / "index")
        summaries = link_shards(folder, dataset) if run.recipe.records.in_place else _write_shards(run, dataset)
        rejected = [row for summary in summaries.values() for row in summary["rejected"]]
        doubtful = [row for summary in summaries.values() for row in summary["doubtful"]]
        rejected_path = _write_rows(folder / "rejected.csv", rejected)
        doubtful_path = _write_rows(folder / "doubtful.csv", doubtful)
        _check_rejected(rejected, run.recipe.records.max_rejected, rejected_path)
        converted, left_whole = (_total(summaries, kind) for kind in ("converted", "left_whole"))
        _report(summaries, rejected, doubtful, converted, left_whole, folder)
        checksums = {name: summary["sha256"] for name, summary in summaries.items()}
        checksums |= {f"index/{name}.npy": summary["index_sha256"] for name, summary in summaries.items()}
        run.finish(
            begun,
            [*(folder / name for name in checksums), write_classes(folder, dataset.classes)],
            byproducts=[rejected_path, doubtful_path],
            checksums=checksums,
            images={split: _count(summaries, split) for split in SPLITS},
            rejected=len(rejected),
            doubtful=len(doubtful),
            converted=converted,
            left_whole=left_whole,
            seeds={"records.seed": run.recipe.records.seed, "dataset.split_seed": run.recipe.dataset.split_seed},
        )


def convert_part(run: Run, part: int) -> None:
    """Every `records.parts`-th shard, from the `part`-th on. The stage itself finds them done.

    Several hosts can work on parts at a time, in the same folder; none waits for another.
    """
    if not 0 <= part < run.recipe.records.parts:
        raise UserError(f"part {part}: records.parts is {run.recipe.records.parts}, and parts are counted from 0")
    if run.part_is_done(part):
        return
    dataset = _load(run)
    with run.at_work_on_part():
        make_folder(run.records / "index")
        _write_shards(run, dataset, slice(part, None, run.recipe.records.parts))
        run.finish_part(part)


def _load(run: Run) -> Dataset:
    dataset = datasets.load(run.recipe.dataset, run.data, run.artifacts)
    run.forget_source()  # loading may have downloaded it
    return dataset


def _write_shards(run: Run, dataset: Dataset, part: slice = slice(None)) -> dict[str, dict[str, Any]]:
    """Make the shards that are missing, in parallel; return every shard's summary by name, in order.

    `part` selects some of the shards: of all training shards, then all validation shards.
    """
    plan = _plan(run, dataset)
    plan = {name: plan[name] for name in list(plan)[part]}
    lists = {name: _list_digest(images, members) for name, (images, members) in plan.items()}
    accepts = run.recipe.records.max_rejected > 0
    summaries = {name: _finished(Shard(run.records, name), lists[name], accepts) for name in plan}
    missing = [name for name, summary in summaries.items() if summary is None]
    total, done = (sum(len(plan[name][1]) for name in names) for names in (plan, set(plan) - set(missing)))

    def orders() -> Iterator[tuple[Any, ...]]:  # a shard's list at a time, not a million at once
        for name in missing:
            images, members = plan[name]
            listed = [(images.image(int(i)), int(images.labels[i])) for i in members]
            yield run.records, name, listed, list(dataset.classes), lists[name]

    with Progress("converting", total, "images", done=done) as progress:
        for name, summary in _in_parallel(orders(), run.machine.workers):
            summaries[name] = summary
            progress.advance(summary["records"] + len(summary["rejected"]))
    return {name: summary for name, summary in summaries.items() if summary}


def _plan(run: Run, dataset: Dataset) -> dict[str, tuple[Split, np.ndarray]]:
    """Which images every shard is of, by its name."""
    records = run.recipe.records
    return {
        shard_name(split, number, count): (images, members)
        for split, images, count in (
            ("train", dataset.train, records.train_shards),
            ("validation", dataset.validation, records.validation_shards),
        )
        for number, members in enumerate(assign(len(images), count, records.seed))
    }


def _in_parallel(orders: Iterator[tuple[Any, ...]], workers: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """`_write_shard` of each order, by worker processes, in whatever order they are done."""
    context = multiprocessing.get_context("spawn")  # OpenCV forked after it used its threads can deadlock
    with futures.ProcessPoolExecutor(workers, context, _start_worker, (os.getpid(),)) as pool:
        waiting = {pool.submit(_write_shard, *order) for order in itertools.islice(orders, 2 * workers)}
        while waiting:
            finished, waiting = futures.wait(waiting, return_when=futures.FIRST_COMPLETED)
            for future in finished:
                try:
                    yield future.result()
                except BrokenProcessPool:
                    raise UserError(
                        "a conversion process was killed: by hand, or by the kernel for want of memory (see dmesg). "
                        "The shards that are done are kept; fewer workers in luigi.cfg take less memory."
                    ) from None
            waiting |= {pool.submit(_write_shard, *order) for order in itertools.islice(orders, len(finished))}


def link_shards(folder: Path, dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Stand for the data set's own TFRecord files: links to them and indices of them; return the summaries by name."""
    summaries = {}
    for split in SPLITS:
        files = dataset.files[split]
        if not files:
            raise UserError(f"records.in_place: there are no {split} records, and none can be held out in place")
        for number, file in enumerate(files):
            index = np.empty(len(file.labels), INDEX_TYPE)
            index["offset"], index["length"], index["label"] = file.offsets, file.lengths, file.labels
            shard = Shard(folder, shard_name(split, number, len(files)))
            nothing: dict[str, Any] = {"rejected": [], "doubtful": [], "converted": {}}
            whole = {"in place": len(index)}
            summaries[shard.name] = shard.link(file.path, index, file.sha256, left_whole=whole, **nothing)
    return summaries


def assign(images: int, shards: int, seed: int) -> list[np.ndarray]:
    """Which images go to which shard: a random permutation, cut into parts whose sizes differ by one at most."""
    return np.array_split(np.random.default_rng(seed).permutation(images), shards)


def _list_digest(images: Split, members: np.ndarray) -> str:
    """Which images, in which order and with which labels, a shard is of."""
    digest = hashlib.sha256()
    for i in members:
        digest.update(f"{images.image(int(i)).filename}\0{images.labels[i]}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _finished(shard: Shard, list_digest: str, accepts_rejected: bool) -> dict[str, Any] | None:
    """The summary of a shard that an earlier attempt finished, of just these images.

    One with rejected images is made again where their loss is not accepted: they may have been mended.
    """
    summary = shard.summary()
    if not summary or summary.get("list") != list_digest:
        return None
    return summary if accepts_rejected or not summary["rejected"] else None


def _start_worker(parent: int) -> None:
    die_with_parent(parent)
    keep_freed_memory()
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(
        cv2.utils.logging.LOG_LEVEL_SILENT
    )  # what the decoders have to say is caught below, image by image


def _write_shard(
    folder: Path, name: str, images: list[tuple[Image, int]], classes: list[tuple[str, str]], list_digest: str
) -> tuple[str, dict[str, Any]]:
    rejected: list[tuple[str, str]] = []
    doubtful: list[tuple[str, str]] = []
    converted: Counter[str] = Counter()
    left_whole: Counter[str] = Counter()

    def readable() -> Iterator[LabelledImage]:
        with _DecoderWarnings() as warnings:
            for image, label in images:
                try:
                    stored = to_stored(image.read())
                except (Unreadable, OSError) as error:
                    rejected.append((image.filename, str(error)))
                    warnings.take()
                    continue
                if warning := warnings.take():
                    doubtful.append((image.filename, warning))
                if stored.converted_from:
                    converted[stored.converted_from] += 1
                if stored.left_whole:
                    left_whole[stored.left_whole] += 1
                yield LabelledImage(*stored[:4], label, *classes[label], image.name())

    summary = Shard(folder, name).write(
        readable(),
        list=list_digest,
        rejected=rejected,
        doubtful=doubtful,
        converted=converted,
        left_whole=left_whole,
    )
    return name, summary


class _DecoderWarnings:
    """What libjpeg and libpng print to standard error while they make up for damage: their only way to say so."""

    def __enter__(self) -> _DecoderWarnings:
        self._file = (
            os.memfd_create("decoder-warnings") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
        )
        self._stderr = os.dup(2)
        os.dup2(self._file, 2)
        return self

    def __exit__(self, *_: object) -> None:
        os.dup2(self._stderr, 2)
        os.close(self._stderr)
        os.close(self._file)

    def take(self) -> str:
        """The words since the last call."""
        size = os.lseek(2, 0, os.SEEK_CUR)
        if not size:
            return ""
        words = os.pread(self._file, size, 0).decode(errors="replace")
        os.ftruncate(self._file, 0)
        os.lseek(2, 0, os.SEEK_SET)
        return " ".join(words.split())


def _write_rows(path: Path, rows: list[tuple[str, str]]) -> Path:
    with atomic(path, "w") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "reason"))
        writer.writerows(rows)
    return path


def _check_rejected(rejected: list[tuple[str, str]], accepted: int, listed: Path) -> None:
    if len(rejected) > accepted:
        first = "".join(f"\n  {file}: {reason}" for file, reason in rejected[:10])
        raise UserError(
            f"{_images(len(rejected))} cannot be read, and records.max_rejected is {accepted}:{first}\n"
            f"All of them are listed in {listed}. Mend or remove them, or accept them with "
            f"--override '[\"records.max_rejected={len(rejected)}\"]': the other shards are done."
        )


def _images(number: int, kind: str = "") -> str:
    return f"1 {kind}image" if number == 1 else f"{number:,} {kind}images"


def _count(summaries: dict[str, dict[str, Any]], split: str) -> int:
    return sum(summary["records"] for name, summary in summaries.items() if name.startswith(f"{split}-"))


def _total(summaries: dict[str, dict[str, Any]], kind: str) -> dict[str, int]:
    """A count by reason, over all shards."""
    return dict(sum((Counter(summary[kind]) for summary in summaries.values()), Counter()))


def _report(
    summaries: dict[str, dict[str, Any]],
    rejected: list,
    doubtful: list,
    converted: dict[str, int],
    left_whole: dict[str, int],
    folder: Path,
) -> None:
    print(f"convert: {_count(summaries, 'train'):,} training and {_count(summaries, 'validation'):,} validation images")
    for kind, number in sorted(converted.items()):
        print(f"convert: {number:,} stored as PNG, pixels unchanged: {kind}")
    for reason, number in sorted(left_whole.items()):
        print(f"convert: {number:,} JPEG stored as they are, to be decoded whole: {reason}")
    if rejected:
        print(f"convert: {_images(len(rejected), 'unreadable ')} left out, listed in {folder / 'rejected.csv'}")
    if doubtful:
        print(f"convert: {_images(len(doubtful))} decoded with warnings, listed in {folder / 'doubtful.csv'}")

"""What makes way when a stage is made again: to the trash folder, never without a word, never more than a minute of
work without `--discard`. What was made from it stays where it is, and is marked stale."""

from __future__ import annotations

import contextlib
import errno
import logging
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from resnet.checked_json import write_json
from resnet.errors import UserError
from resnet.files import LEFTOVER, make_folder
from resnet.ledger.ledger import Ledger
from resnet.ledger.lengthening import lengthened_from, why_not_lengthened
from resnet.ledger.state_files import read_state
from resnet.locks import LOCK
from resnet.progress import PROGRESS, time_text
from resnet.run import run_options
from resnet.stage_log import is_log
from resnet.stage_table import STAGES, chain

logger = logging.getLogger(__name__)

GUARDED_SECONDS = 60.0
NONE = -1.0  # seconds of work that may be displaced
LABEL = "trashed.json"  # in a folder of the trash: where it comes from, and why it is there
STALE = "stale.txt"  # beside a stage.json whose stage must run again
NO_WORK = {LOCK, "begun.json", "stage.json", STALE, PROGRESS}


def require_discardable(ledger: Ledger, stage: str) -> None:
    """Raise UserError where running a stage, with all that it needs, would displace guarded work without --discard."""
    inputs_stay = True  # one that is made again may come out as it was, or not
    for name in chain(stage):
        earlier = ledger.record(name) or ledger.begun(name)
        if earlier and "imported" in earlier and (reason := ledger.why_itself_incomplete(name)):
            _guard_import(ledger, name, earlier["imported"], reason)
        elif name == "train" and lengthened_from(ledger, earlier):
            pass  # it goes on where it ended
        elif earlier and (differences := ledger.differences(name, earlier, with_inputs=inputs_stay)):
            _guard(ledger, name, work_seconds(ledger.run.stage_folder(name), earlier), differences)
        inputs_stay = inputs_stay and not ledger.why_incomplete(name)


def displace(
    ledger: Ledger, stage: str, earlier: dict[str, Any] | None, imported: Mapping[str, str] | None = None
) -> None:
    """Move everything that an earlier attempt left in the stage's folder to the trash.

    None: nobody knows which attempt, as its stage.json and begun.json are gone. `imported`: the weights that are to
    take its place, if they are not made here.
    """
    if entries := entries_of(ledger.run.stage_folder(stage)):
        differences = require_displaceable(ledger, stage, earlier, imported)
        move(ledger, stage, earlier, entries, ", ".join(differences))


def require_displaceable(
    ledger: Ledger, stage: str, earlier: dict[str, Any] | None, imported: Mapping[str, str] | None
) -> list[str]:
    """Raise UserError where `displace` would move guarded work; returns why it moves anything."""
    folder = ledger.run.stage_folder(stage)
    if not entries_of(folder):
        return []
    if earlier:
        differences = ledger.differences(stage, earlier)
    else:
        differences = ["nothing says with which settings it was made: begun.json and stage.json are missing"]
    if earlier and "imported" in earlier:
        _guard_import(ledger, stage, earlier["imported"], ", ".join(differences) or "another import is asked for")
    seconds = work_seconds(folder, earlier)
    for run, worked in _trained_elsewhere(ledger, stage, earlier):
        differences.append(f"run {run.name} was trained on these records, in {time_text(worked)}")
        seconds += worked
    if imported:
        differences.append(f"weights are imported from {imported['file']}")
    # Who imports into the wrong run would lose a training, however short it was.
    is_finished = earlier is not None and "end" in earlier
    _guard(ledger, stage, seconds, differences, allowed=NONE if imported and is_finished else GUARDED_SECONDS)
    return differences


def entries_of(folder: Path) -> list[Path]:
    """What a stage, or anybody, has left in its folder."""
    return [entry for entry in sorted(folder.iterdir()) if entry.name != LOCK]  # this very process has that one


def displace_files(ledger: Ledger, stage: str, earlier: dict[str, Any], files: Sequence[Path], why: str) -> None:
    """Move those files of an earlier attempt that are made again to the trash. `why` is a sentence.

    Guarded is their part of the work, by size.
    """
    if not files:
        return
    folder = ledger.run.stage_folder(stage)
    part = sum(map(_size, files)) / max(sum(map(_size, _work(folder))), 1)
    _guard(ledger, stage, part * work_seconds(folder, earlier), [why])
    move(ledger, stage, earlier, [path for path in files if path.is_symlink() or path.exists()], why)


def work_seconds(folder: Path, earlier: dict[str, Any] | None) -> float:
    """How much time went into what is in a stage's folder. The time between attempts does not count."""
    if earlier and "end" in earlier:
        return earlier["worked_seconds"] if "worked_seconds" in earlier else _since(earlier["start"], earlier["end"])
    times = [path.lstat().st_mtime for path in _work(folder)]
    if not times:
        return 0.0
    if earlier is None:
        return max(times) - min(times)
    start = datetime.fromisoformat(earlier.get("attempt_start", earlier["start"])).timestamp()
    return earlier.get("worked_seconds", 0.0) + max(max(times) - start, 0.0)


def unmark(ledger: Ledger, stage: str, digest: str) -> None:
    """Take the mark off what fits again: the stage was made again with the same result."""
    records = digest if stage == "convert" else (ledger.record("convert") or {"digest": ""})["digest"]
    for folder, _ in _downstream(ledger, stage, digest):
        if (folder / STALE).exists() and _digest_if_it_fits(folder.parent, folder.name, records):
            (folder / STALE).unlink()
            logger.info("%s is not stale any more: %s has the same result again", folder, stage)


def _digest_if_it_fits(run: Path, stage: str, records: str) -> str | None:
    """The digest of a finished stage, if it was made from the results that its inputs have now."""
    if stage == "convert":
        return records
    record = read_state(run / stage / "stage.json")
    inputs = {name: used for name, used in record["inputs"].items() if name in STAGES} if record else {}
    fits = all(_digest_if_it_fits(run, name, records) == used for name, used in inputs.items())
    return record["digest"] if record and fits else None


def _trained_elsewhere(ledger: Ledger, stage: str, earlier: dict[str, Any] | None) -> Iterator[tuple[Path, float]]:
    """The other runs that were trained on the records of a conversion, and how much work that was."""
    if stage == "convert" and earlier and "digest" in earlier:
        for run in sorted((ledger.run.artifacts / "runs").glob("*")):
            if run != ledger.run.folder and is_trained_on(run, earlier["digest"]):
                yield run, work_seconds(run / "train", read_state(run / "train" / "stage.json"))


def _guard(
    ledger: Ledger, stage: str, seconds: float, differences: Iterable[str], allowed: float = GUARDED_SECONDS
) -> None:
    run = ledger.run
    if seconds <= allowed or any(name in run.discard for name in chain(stage)):
        return
    earlier = ledger.record(stage) or ledger.begun(stage)
    if stage == "train" and (reason := why_not_lengthened(ledger, earlier)):
        differences = [*differences, reason]
    ways = ["another name for the records: --override dataset.name=NAME" if stage == "convert" else "another --run"]
    if run.stored_recipe.exists() and any(", now " in difference for difference in differences):
        ways.append(f"the run's own settings: leave out --recipe and --override (they are in {run.stored_recipe})")
    again = f"luigi --module pipeline Rerun --stage {stage}, with the same options; or --discard {stage}"
    ways.append(f"let it move to the trash, with all that depends on it: {again}")
    raise UserError(
        f"{stage} would be made again, and {time_text(seconds)} of work in {run.stage_folder(stage)} displaced:"
        + "".join(f"\n  {difference}" for difference in differences)
        + "\nThe ways on:"
        + "".join(f"\n  {way}" for way in ways)
    )


def _guard_import(ledger: Ledger, stage: str, imported: Mapping[str, str], why: str) -> None:
    """Training would take the place of imported weights: that is never what somebody who imported them expects."""
    run = ledger.run
    if any(name in run.discard for name in chain(stage)):
        return
    again = f"python -m resnet import-weights {shlex.quote(imported['file'])} {run_options(run.folder)}"
    raise UserError(
        f"{run.stage_folder(stage)} has weights imported from {imported['file']}, and {stage} would take their place:\n"
        f"  {why}\n"
        "The ways on:\n"
        f"  import them again: {again}\n"
        "  the settings that they were imported with: leave out --recipe and --override\n"
        f"  let them move to the trash, and run {stage} itself: --discard {stage}"
    )


def move(ledger: Ledger, stage: str, earlier: dict[str, Any] | None, entries: Sequence[Path], why: str) -> None:
    """Move what is in a stage's folder to the trash, and mark what depends on it."""
    if not entries:
        return
    run, folder = ledger.run, ledger.run.stage_folder(stage)
    trash = run.artifacts / "trash"
    make_folder(trash)
    owner = run.records_name if stage == "convert" else run.name
    stem = f"{datetime.now().strftime('%Y%m%d-%H%M%S')}-{owner}-{stage}"
    target = next(path for n in range(1000) if not (path := trash / (f"{stem}-{n}" if n else stem)).exists())
    _mark_downstream(ledger, stage, earlier, f"{target} ({why})")
    make_folder(target)
    label = {"stage": stage, "run": run.name, "folder": str(folder.relative_to(run.artifacts)), "why": why}
    write_json(target / LABEL, label)
    try:
        for entry in sorted(entries, key=lambda entry: entry.name in NO_WORK):  # what says what it is comes last
            make_folder((target / entry.relative_to(folder)).parent)
            entry.rename(target / entry.relative_to(folder))
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with contextlib.suppress(OSError):  # where some of it has moved, it stays in the trash
            (target / LABEL).unlink()
            target.rmdir()
        raise UserError(
            f"{folder} is on another disk than {trash}: move what is in it away by hand, and run the same command again"
        ) from None
    logger.info("moved the earlier %s results (%s) to %s", STAGES[stage].title, why, target)


def _mark_downstream(ledger: Ledger, stage: str, earlier: dict[str, Any] | None, displaced: str) -> None:
    text = (
        f"The results in this folder are stale: they depend on {stage}, whose results moved to {displaced}.\n"
        "They belong to what is there, not to what is beside this folder. Run the stage again to replace them.\n"
    )
    for folder, _ in _downstream(ledger, stage, (earlier or {}).get("digest")):
        if (folder / "stage.json").exists() and not (folder / STALE).exists():
            try:
                (folder / STALE).write_text(text, encoding="utf-8", errors="surrogateescape")
                logger.info("%s is stale: it depends on %s", folder, stage)
            except OSError as error:  # a run of somebody else's
                logger.warning("%s is stale, and cannot be marked so: %s", folder, error.strerror)


def _downstream(ledger: Ledger, stage: str, digest: str | None) -> Iterator[tuple[Path, str]]:
    """Folders that depend on a stage, and on which stage: of this run, and of all runs on records of this digest."""
    later = [name for name in STAGES if name != stage and stage in chain(name)]
    runs = {ledger.run.folder}
    if stage == "convert" and digest:
        runs |= {run for run in (ledger.run.artifacts / "runs").glob("*") if is_trained_on(run, digest)}
    for run in sorted(runs):
        for name in later:
            yield run / name, stage


def is_trained_on(run: Path, records: str) -> bool:
    """Whether the training of a run, by its folder, is finished and of these records, by their digest."""
    try:
        train = read_state(run / "train" / "stage.json")
    except UserError:
        return False
    return train is not None and train["inputs"].get("convert") == records


def _work(folder: Path) -> list[Path]:
    """The files that a stage has written so far."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    return [path for path in found if not (path.name in NO_WORK or path.name.endswith(LEFTOVER) or is_log(path))]


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _since(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()

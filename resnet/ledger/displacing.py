"""What makes way when a stage is made again: to the trash folder, never without a word, never more than a minute of
work without `--discard`. What was made from it stays where it is, and is marked stale."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet.checked_json import Corrupt
from resnet.errors import UserError
from resnet.files import make_folder
from resnet.ledger.state_files import read_state
from resnet.progress import time_text
from resnet.stage_table import STAGES, chain

if TYPE_CHECKING:
    from resnet.ledger.ledger import Ledger

logger = logging.getLogger(__name__)

GUARDED_SECONDS = 60.0
STALE = "stale.txt"  # beside a stage.json whose stage must run again


def require_discardable(ledger: Ledger, stage: str) -> None:
    """Raise UserError where running a stage, with all that it needs, would displace guarded work without --discard."""
    for name in chain(stage):
        earlier = ledger.record(name) or ledger.begun(name)
        if earlier and (differences := ledger.differences(name, earlier)):
            _require_discardable(ledger, name, earlier, differences)


def displace(ledger: Ledger, stage: str, earlier: dict[str, Any] | None) -> None:
    """Move everything that an earlier attempt (None: nobody knows which) left in the stage's folder to the trash."""
    folder = ledger.run.stage_folder(stage)
    entries = [entry for entry in sorted(folder.iterdir()) if entry.name != ".lock"]  # this very process has that one
    if not entries:
        return
    differences = ledger.differences(stage, earlier) if earlier else []
    if earlier:
        _require_discardable(ledger, stage, earlier, differences)
    target = _move_to_trash(ledger, stage, entries)
    why = f" ({', '.join(differences)})" if differences else ""
    logger.info("moved the earlier %s results%s to %s", STAGES[stage].title, why, target)
    _mark_downstream(ledger, stage, earlier, f"{target}{why}")


def displace_files(ledger: Ledger, stage: str, earlier: dict[str, Any], files: Sequence[Path], why: str) -> None:
    """Move those files of a finished stage that are made again to the trash. `why` is a sentence."""
    if not files:
        return
    _require_discardable(ledger, stage, earlier, [why])
    target = _move_to_trash(ledger, stage, [path for path in files if path.is_symlink() or path.exists()])
    logger.info("%s: moved %s files to %s", why, f"{len(files):,}", target)
    _mark_downstream(ledger, stage, earlier, f"{target} ({why})")


def work_seconds(folder: Path, earlier: dict[str, Any]) -> float:
    """How much time an attempt took, or has taken so far: to its newest file, if it was interrupted."""
    if "finished_seconds" in earlier:
        return earlier["finished_seconds"]
    start = datetime.fromisoformat(earlier["start"]).timestamp()
    if "end" in earlier:
        return datetime.fromisoformat(earlier["end"]).timestamp() - start
    return max((path.stat().st_mtime for path in folder.rglob("*") if path.is_file()), default=start) - start


def unmark(ledger: Ledger, stage: str) -> None:
    """Take the mark off what fits again: the stage was made again with the same result."""
    for folder, name in _downstream(ledger, stage):
        if (folder / STALE).exists() and not ledger.why_incomplete(name):
            (folder / STALE).unlink()


def _require_discardable(ledger: Ledger, stage: str, earlier: dict[str, Any], differences: Iterable[str]) -> None:
    run = ledger.run
    seconds = work_seconds(run.stage_folder(stage), earlier)
    if seconds <= GUARDED_SECONDS or any(name in run.discard for name in chain(stage)):
        return
    other = "another name for the records (--override dataset.name=NAME)" if stage == "convert" else "another --run"
    keep = (
        f"; keep the run's own settings (leave out --recipe and --override: they are in {run.stored_recipe})"
        if run.stored_recipe.exists()
        else ""
    )
    raise UserError(
        f"{stage} would be made again, and {time_text(seconds)} of work in {run.stage_folder(stage)} displaced:"
        + "".join(f"\n  {difference}" for difference in differences)
        + f"\nGive {other}{keep}; or let it move to the trash, with all that depends on it: --discard {stage}"
    )


def _move_to_trash(ledger: Ledger, stage: str, entries: Iterable[Path]) -> Path:
    run, folder = ledger.run, ledger.run.stage_folder(stage)
    trash = run.artifacts / "trash"
    make_folder(trash)
    owner = run.records_name if stage == "convert" else run.name
    stem = f"{datetime.now().strftime('%Y%m%d-%H%M%S')}-{owner}-{stage}"
    target = next(path for n in range(1000) if not (path := trash / (f"{stem}-{n}" if n else stem)).exists())
    target.mkdir()
    for entry in entries:
        make_folder((target / entry.relative_to(folder)).parent)
        entry.rename(target / entry.relative_to(folder))
    return target


def _mark_downstream(ledger: Ledger, stage: str, earlier: dict[str, Any] | None, displaced: str) -> None:
    text = (
        f"The results in this folder are stale: they depend on {stage}, whose results moved to {displaced}.\n"
        "They belong to what is there, not to what is beside this folder. Run the stage again to replace them.\n"
    )
    for folder, _ in _downstream(ledger, stage, earlier):
        if (folder / "stage.json").exists():
            (folder / STALE).write_text(text, encoding="utf-8", errors="surrogateescape")
            logger.info("%s is stale: it depends on %s", folder, stage)


def _downstream(ledger: Ledger, stage: str, earlier: dict[str, Any] | None = None) -> Iterator[tuple[Path, str]]:
    """The folders of the stages that depend on this one: in this run, and in all runs on the displaced records."""
    later = [name for name in STAGES if name != stage and stage in chain(name)]
    runs = [ledger.run.folder]
    if stage == "convert" and earlier and "digest" in earlier:
        runs = [run for run in (ledger.run.artifacts / "runs").glob("*") if _is_trained_on(run, earlier["digest"])]
    for run in runs:
        for name in later:
            yield run / name, name


def _is_trained_on(run: Path, records: str) -> bool:
    try:
        train = read_state(run / "train" / "stage.json")
    except Corrupt:
        return False
    return train is not None and train["inputs"].get("convert") == records

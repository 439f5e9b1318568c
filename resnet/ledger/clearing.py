"""Make room for a stage that is to be run again, because somebody asks for it: its results move to the trash."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from resnet.checked_json import Corrupt
from resnet.ledger import displacing
from resnet.ledger.ledger import Ledger
from resnet.ledger.locking import KILLED_SECONDS
from resnet.locks import locked
from resnet.stage_table import STAGES, chain

WHY = "it is run again"


def clear(ledger: Ledger, stage: str, *, only: bool) -> list[str]:
    """Move what a stage has left to the trash and, unless `only` it, what depends on it in this run; returns whose.

    What other runs have made of it stays, marked stale. Raises LockedElsewhere before anything moves.
    """
    later = [] if only else [name for name in STAGES if name != stage and stage in chain(name)]
    stages = [name for name in (stage, *later) if ledger.run.stage_folder(name).is_dir()]
    with contextlib.ExitStack() as locks:
        for name in stages:
            locks.enter_context(locked(ledger.run.stage_folder(name), wait=KILLED_SECONDS))
        return [name for name in reversed(stages) if _clear(ledger, name)][::-1]


def set_aside(ledger: Ledger, stage: str, files: Sequence[Path], why: str) -> None:
    """Move some files of a stage to the trash: it makes them again when it runs. Raises LockedElsewhere."""
    with locked(ledger.run.stage_folder(stage), wait=KILLED_SECONDS):
        displacing.move(ledger, stage, ledger.record(stage), [path for path in files if os.path.lexists(path)], why)


def _clear(ledger: Ledger, stage: str) -> bool:
    entries = displacing.entries_of(ledger.run.stage_folder(stage))
    try:
        earlier = ledger.record(stage) or ledger.begun(stage)
    except Corrupt:  # which may be why it is run again
        earlier = None
    displacing.move(ledger, stage, earlier, entries, WHY)
    return bool(entries)

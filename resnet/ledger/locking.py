"""Who may work on a stage, and who may read what it wrote: the locks, and what is checked inside them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from resnet.files import make_folder
from resnet.ledger.attempt import Attempt
from resnet.ledger.ledger import Ledger
from resnet.ledger.state_files import write_state
from resnet.locks import locked
from resnet.stage_table import STAGES

KILLED_SECONDS = 10.0  # a killed process may take a moment to end and release its lock


@contextlib.contextmanager
def working(ledger: Ledger, stage: str) -> Iterator[Attempt | None]:
    """Lock what a stage writes, and the records that it reads together with other readers, while it runs.

    Its inputs are checked inside the locks: another process may have changed them while this one waited. Yields
    None where the stage is complete: another process may have finished it.
    """
    with contextlib.ExitStack() as locks:
        if stage == "convert":  # two runs on the same images: the second waits, and finds the work done
            locks.enter_context(locked(ledger.run.records, wait=math.inf))
        else:
            locks.enter_context(reading(ledger, STAGES[stage].inputs))
            locks.enter_context(locked(ledger.run.stage_folder(stage), wait=KILLED_SECONDS))
        ledger.require_inputs(stage)
        if ledger.why_incomplete(stage):
            ledger.verify_inputs(stage)
            attempt = Attempt(ledger, stage)
            with attempt.noted():
                yield attempt
        else:
            yield None


@contextlib.contextmanager
def importing(ledger: Ledger, stages: Sequence[str], imported: Mapping[str, str]) -> Iterator[list[Attempt] | None]:
    """Lock stages whose weights come from elsewhere. They need no other stage, and no records.

    `imported` says from where. Yields an attempt at each, or None where this import is complete. Raises UserError,
    before any begins, where one of them would displace what it must not.
    """
    with contextlib.ExitStack() as locks:
        for stage in stages:
            locks.enter_context(locked(ledger.run.stage_folder(stage), wait=KILLED_SECONDS))
        done = all(
            (ledger.record(stage) or {}).get("imported") == imported and not ledger.why_itself_incomplete(stage)
            for stage in stages
        )
        attempts = None if done else [Attempt(ledger, stage, imported) for stage in stages]
        for attempt in attempts or ():
            attempt.require_room()
            locks.enter_context(attempt.noted())
        yield attempts


@contextlib.contextmanager
def reading(ledger: Ledger, stages: Iterable[str]) -> Iterator[None]:
    """Lock what these stages wrote together with other readers, so that nobody makes it again meanwhile."""
    with contextlib.ExitStack() as locks:
        for stage in stages:  # who rebuilds records may take hours, and is waited for
            wait = math.inf if stage == "convert" else KILLED_SECONDS
            locks.enter_context(locked(ledger.run.stage_folder(stage), shared=True, wait=wait))
        yield


@contextlib.contextmanager
def converting_part(ledger: Ledger, part: int, changed: Callable[[], Sequence[Path]]) -> Iterator[None]:
    """Lock the records together with those who make other parts of them, and note the part as done at the end.

    The first who makes a part begins the conversion; `changed` is as in `Attempt.begin`.
    """
    records = ledger.run.records
    while True:
        with locked(records, shared=True, wait=math.inf):
            if ledger.conversion_has_begun():
                yield
                make_folder(ledger.part_file(part).parent)
                write_state(ledger.part_file(part), ledger.identity("convert"))
                return
        with locked(records, wait=math.inf):
            if not ledger.conversion_has_begun():
                Attempt(ledger, "convert").begin(changed)

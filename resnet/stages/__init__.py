"""The stages. Each module's `main(run, attempt)` reads as what its stage does; `run_stage` is common to all."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from types import ModuleType

from resnet import datasets
from resnet.hosts.cluster import cluster_of
from resnet.ledger import Ledger
from resnet.ledger.displacing import require_discardable
from resnet.ledger.locking import working
from resnet.run import Run
from resnet.runs_page import kept_current
from resnet.stage_table import STAGES, chain

# What TensorFlow prints about itself on import, and no user needs.
STARTUP_NOTES = ("All log messages before absl::InitializeLog", "oneDNN custom operations are on")


def ledger_of(run: Run) -> Ledger:
    """The ledger of a run, which asks the run's data set for its fingerprint."""
    # Not a lambda: `luigi --parallel-scheduling` pickles tasks, and a task has a ledger.
    return Ledger(run, partial(datasets.fingerprint, run.recipe.dataset, run.data, run.artifacts))


def run_stage(name: str, run: Run) -> None:
    """Run a stage, unless it is complete. Raises UserError where an input is incomplete."""
    ledger = ledger_of(run)
    require_ready(ledger, name)
    ledger.require_inputs(name)
    if not ledger.why_incomplete(name):  # before TensorFlow is imported
        return
    module = _import(STAGES[name].module)
    if name == "train" and not cluster_of(os.environ).is_chief:
        module.assist(run, ledger)
        return
    with kept_current(run.artifacts) as page, working(ledger, name) as attempt:
        if attempt:
            attempt.on_news = page.follow
            module.main(run, attempt)


def run_part(run: Run, part: int) -> None:
    """Make one of the parts that a conversion is split into."""
    ledger = ledger_of(run)
    require_ready(ledger, "convert")
    with kept_current(run.artifacts):
        _import(STAGES["convert"].module).convert_part(run, ledger, part)


def require_ready(ledger: Ledger, name: str) -> None:
    """Raise UserError where a stage, with all that it needs, would displace what it must not, or has nothing to start
    from."""
    if "convert" in chain(name):
        ledger.require_own_records()
    if "train" in chain(name):
        ledger.require_start()
    require_discardable(ledger, name)


def _import(module: str) -> ModuleType:
    """A stage's module, without the notes that TensorFlow prints on import. Everything else is let through."""
    with without_startup_notes(), without_keras():
        return importlib.import_module(module)


@contextlib.contextmanager
def without_keras() -> Iterator[None]:
    """Import TensorFlow in this block, and it does not import Keras at once, with all that Keras imports.

    No stage uses it, and each starts 1.5 s sooner and takes 150 MB less. TensorFlow expects that Keras may be missing.
    """
    if "keras" in sys.modules:
        yield
        return
    sys.modules["keras"] = None  # type: ignore[assignment]  # what makes an import of it fail
    try:
        yield
    finally:
        del sys.modules["keras"]


@contextlib.contextmanager
def without_startup_notes() -> Iterator[None]:
    """Import TensorFlow in this block, and what it prints about itself is not shown."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            caught.seek(0)
            for line in caught.read().decode(errors="replace").splitlines():
                if not any(note in line for note in STARTUP_NOTES):
                    print(line, file=sys.stderr)

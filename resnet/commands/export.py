"""Write a run's network for another runtime, and prove that it answers as it was evaluated."""

from __future__ import annotations

import argparse
import importlib.util
import sys

from resnet.commands.options import existing_run
from resnet.errors import UserError
from resnet.exporting import CARD_PACKAGE, FORMATS, Format
from resnet.run import Run
from resnet.runs_page import kept_current
from resnet.stages import ledger_of, without_startup_notes


def main(options: argparse.Namespace) -> None:
    """Export the run that the options name in the format that they name."""
    format = FORMATS[options.format]
    require_packages(format)
    folder = existing_run(options)
    run = Run.of(name=folder.name, artifacts=folder.parent.parent)
    with without_startup_notes():
        from resnet.exporting.export import export
    with kept_current(run.artifacts):
        folder, comparison = export(ledger_of(run), format)
    print(
        f"export: {format.title} in {folder}; its probabilities of {comparison.images:,} validation images differ from "
        f"Evaluate's by {comparison.greatest_difference:.2g} at most ({comparison.tolerance:g} is allowed)"
    )


def require_packages(format: Format) -> None:
    """Raise UserError, with the line that installs them, where packages of the extra `export` are missing."""
    needed = (*format.packages, CARD_PACKAGE)
    missing = [name for name in needed if importlib.util.find_spec(name.replace("-", "_")) is None]
    if missing:
        raise UserError(
            f"an export to {format.title} needs {', '.join(missing)}. Install: "
            f"{sys.executable} -m pip install {' '.join(missing)}"
        )

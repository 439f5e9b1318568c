"""run: FullRun for people who do not know Luigi, with its local scheduler. It ends with the exit code of `luigi`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys

from resnet.commands.options import run_of
from resnet.errors import UserError
from resnet.processes import command
from resnet.stages import ledger_of
from resnet.status import RunStatus, read_status, room

GIVEN = ("recipe", "run", "artifacts", "data")  # options that have the same name in both commands


def main(options: argparse.Namespace) -> int:
    """Become `luigi`; with --dry-run, say what it would do. Raises UserError."""
    if options.folder and options.data:
        raise UserError("run: give the folder of the images once: as it is, or with --data.")
    options.data = options.folder or options.data
    if options.dry_run:
        status = read_status(ledger_of(run_of(options)))
        print("\n".join([*status.lines(), *about_room(status, options)]))
        return 0
    if importlib.util.find_spec("pipeline") is None:
        raise UserError("run: the package `pipeline` is not installed: install this project with `pip install .[cpu]`.")
    sys.stdout.flush()
    os.execv(sys.executable, luigi_arguments(options))


def luigi_arguments(options: argparse.Namespace) -> list[str]:
    """The command line that these options are short for."""
    given = [f"--{name}={value}" for name in GIVEN if (value := getattr(options, name))]
    given = [option for option in given if option != "--artifacts=artifacts"]  # the default, which luigi.cfg may change
    given += [f"--override={override}" for override in options.override]
    given += [f"--discard={','.join(options.discard)}"] if options.discard else []
    return [*command("luigi"), "--module=pipeline", "FullRun", "--local-scheduler", *given]


def about_room(status: RunStatus, options: argparse.Namespace) -> list[str]:
    """How much disk it would take, in a line; none where nothing would run."""
    if not status.next.seconds:
        return []
    needed = room(ledger_of(run_of(options)), status.next.seconds.keys())
    parts = []
    if needed.records is None:
        parts.append("records of unknown size")
    elif needed.records:
        parts.append(f"about {_gigabytes(needed.records)} of records")
    if needed.training:
        parts.append(f"{_gigabytes(needed.training)} of checkpoints and weights")
    return [f"Disk: {' and '.join(parts)}; {_gigabytes(needed.free)} are free."] if parts else []


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"

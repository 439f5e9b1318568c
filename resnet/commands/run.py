"""run: FullRun for people who do not know Luigi, with its local scheduler. It ends with the exit code of `luigi`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys

from resnet.errors import UserError
from resnet.processes import command

GIVEN = ("recipe", "run", "artifacts", "data")  # options that have the same name in both commands
NOT_UP_TO_DATE = 25  # the exit code of Status, which a dry run expects


def main(options: argparse.Namespace) -> int:
    """Become `luigi`; with --dry-run, say what it would do. Raises UserError."""
    if options.folder and options.data:
        raise UserError("run: give the folder of the images once: as it is, or with --data.")
    options.data = options.folder or options.data
    if importlib.util.find_spec("pipeline") is None:
        raise UserError("run: the package `pipeline` is not installed: install this project with `pip install .[cpu]`.")
    sys.stdout.flush()
    if options.dry_run:
        code = subprocess.run(luigi_arguments(options, "Status", "--disk")).returncode
        return 0 if code == NOT_UP_TO_DATE else code
    os.execv(sys.executable, luigi_arguments(options, "FullRun", "--local-scheduler"))


def luigi_arguments(options: argparse.Namespace, *task: str) -> list[str]:
    """The command line that these options are short for."""
    given = [f"--{name}={value}" for name in GIVEN if (value := getattr(options, name))]
    given += [f"--override={override}" for override in options.override]
    given += [f"--discard={','.join(options.discard)}"] if options.discard else []
    return [*command("luigi"), "--module=pipeline", *task, *given]

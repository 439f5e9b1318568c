"""python -m resnet COMMAND: one stage of the pipeline, without Luigi, or another command."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys

from resnet import console, stages
from resnet.commands import COMMANDS
from resnet.errors import LockedElsewhere, UserError
from resnet.processes import PARENT, die_with_parent
from resnet.progress import report
from resnet.run import Machine, Run
from resnet.stage_table import STAGES

EXIT_FAILED, EXIT_LOCKED, EXIT_INTERRUPTED = 1, 10, 130


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 10 locked by another process, 130 interrupted."""
    options = _parser().parse_args(arguments)
    if PARENT in os.environ:
        die_with_parent(int(os.environ[PARENT]), signal.SIGTERM)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the user does not need TensorFlow's start-up notes
    console.configure()
    try:
        if options.command in COMMANDS:
            importlib.import_module(COMMANDS[options.command].module).main(options)
        else:
            _run_stage(options)
        return 0
    except UserError as error:
        return _fail(str(error), EXIT_LOCKED if isinstance(error, LockedElsewhere) else EXIT_FAILED)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        return _fail(f"{error.strerror}: {error.filename or options.artifacts}", EXIT_FAILED)
    except KeyboardInterrupt:
        return _fail(f"{options.command} was interrupted; the same command continues it", EXIT_INTERRUPTED)


def _run_stage(options: argparse.Namespace) -> None:
    run = _run_of(options)
    report(message=f"{options.command}: starting")
    if getattr(options, "part", None) is not None:
        stages.run_part(run, options.part)
    else:
        stages.run_stage(options.command, run)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m resnet", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    recipe = argparse.ArgumentParser(add_help=False)
    recipe.add_argument("--recipe", default="digits", help="name of a shipped recipe, or a .toml file")
    recipe.add_argument("--override", action="append", default=[], metavar="SECTION.KEY=VALUE", help="repeatable")
    run = argparse.ArgumentParser(add_help=False)
    run.add_argument("--data", default="", help="root of the images")
    run.add_argument("--run", default="", help="name of the run (default: the recipe's)")
    run.add_argument("--artifacts", default="artifacts", help="folder that everything is written under")
    machine = argparse.ArgumentParser(add_help=False)
    machine.add_argument("--workers", type=int, default=0, help="worker processes (default: one a core)")
    machine.add_argument("--devices", type=int, default=0, help="GPUs to train on (default: all)")
    machine.add_argument("--cpu-devices", type=int, default=1, help="logical devices to split the CPU into")
    groups = {"recipe": recipe, "run": run, "machine": machine}
    for stage in STAGES.values():
        command = commands.add_parser(stage.name, help=stage.help, parents=list(groups.values()))
        if stage.name == "convert":
            command.add_argument("--part", type=int, help="make only this one of records.parts, counted from 0")
    for row in COMMANDS.values():
        commands.add_parser(row.name, help=row.help, parents=[groups[name] for name in row.options])
    return parser


def _run_of(options: argparse.Namespace) -> Run:
    for name in ("workers", "devices", "cpu_devices"):
        if getattr(options, name) < 0:
            raise UserError(f"--{name.replace('_', '-')} cannot be negative")
    machine = Machine(
        workers=options.workers or Machine().workers,
        devices=options.devices,
        cpu_devices=max(options.cpu_devices, 1),
    )
    return Run.of(
        options.recipe,
        options.override,
        name=options.run,
        artifacts=options.artifacts,
        data=options.data,
        machine=machine,
    )


def _fail(message: str, code: int) -> int:
    if not report(error=message):
        print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())

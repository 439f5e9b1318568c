"""python -m resnet STAGE: one stage of the pipeline, without Luigi."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator

from resnet.artifacts import Machine, Run
from resnet.errors import HeldElsewhere, UserError
from resnet.processes import PARENT, die_with_parent
from resnet.progress import tell
from resnet.settings import settings_page

# Each stage's function takes a Run. Modules are imported when asked for: TensorFlow takes six seconds.
STAGES = {
    "convert": ("resnet.records.convert", "images to records"),
    "train": ("resnet.training.train", "records to trained weights"),
    "batchnorm": ("resnet.batchnorm", "average the batch-norm statistics over training batches"),
    "evaluate": ("resnet.evaluation", "error on the validation images"),
    "report": ("resnet.report", "one page of what was run and what came out"),
}
STARTUP_NOTES = ("All log messages before absl::InitializeLog", "oneDNN custom operations are on")
EXIT_FAILED, EXIT_HELD, EXIT_INTERRUPTED = 1, 10, 130


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 10 held by another process, 130 interrupted."""
    options = _parser().parse_args(arguments)
    if PARENT in os.environ:
        die_with_parent(int(os.environ[PARENT]), signal.SIGTERM)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notes are not for the user
    try:
        if options.command == "settings":
            print(settings_page(), end="")
            return 0
        if options.command == "recipe":
            print(Run.of(options.recipe, options.override).recipe.toml(), end="")
            return 0
        run = _run_of(options)
        run.require_inputs(options.command)
        tell(message=f"{options.command}: starting")
        with _without_startup_notes():
            module = importlib.import_module(STAGES[options.command][0])
        if getattr(options, "part", None) is not None:
            module.convert_part(run, options.part)
        else:
            getattr(module, options.command)(run)
        return 0
    except UserError as error:
        return _fail(str(error), EXIT_HELD if isinstance(error, HeldElsewhere) else EXIT_FAILED)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        return _fail(f"{error.strerror}: {error.filename or options.artifacts}", EXIT_FAILED)
    except KeyboardInterrupt:
        return _fail(f"{options.command} was interrupted; the same command goes on from there", EXIT_INTERRUPTED)


@contextlib.contextmanager
def _without_startup_notes() -> Iterator[None]:
    """Keep from the user what TensorFlow prints about itself on import; all else is let through."""
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m resnet", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument("--recipe", default="digits", help="name of a shipped recipe, or a .toml file")
    which.add_argument("--override", action="append", default=[], metavar="SECTION.KEY=VALUE", help="repeatable")
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--data", default="", help="root of the images")
    where.add_argument("--run", default="", help="name of the run (default: the recipe's)")
    where.add_argument("--artifacts", default="artifacts", help="folder that everything is written under")
    where.add_argument("--workers", type=int, default=0, help="worker processes (default: one a core)")
    where.add_argument("--devices", type=int, default=0, help="GPUs to train on (default: all)")
    where.add_argument("--cpu-devices", type=int, default=1, help="logical devices to split the processor into")
    for name, (_, what) in STAGES.items():
        command = commands.add_parser(name, help=what, parents=[which, where])
        if name == "convert":
            command.add_argument("--part", type=int, help="only this one of records.parts, counted from 0")
    commands.add_parser("settings", help="print every setting with its default and meaning")
    commands.add_parser("recipe", help="print a recipe with every setting spelled out", parents=[which])
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
    if not tell(error=message):
        print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())

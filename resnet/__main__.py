"""python -m resnet COMMAND: one stage of the pipeline, without Luigi, or another command."""

from __future__ import annotations

import os
import sys

from resnet.errors import UserError, is_interruption

EXIT_INTERRUPTED = 130
NO_TENSORFLOW = "TensorFlow is not installed. Install it too: 'resnet-pipeline[cpu]', or [gpu] for NVIDIA GPUs."


try:  # these imports take a second, and Ctrl-C may come in it
    import argparse
    import importlib
    import signal

    from resnet import console, stages
    from resnet.commands import COMMANDS
    from resnet.commands.options import OF_STAGES, option_groups, run_of
    from resnet.files import kind_of
    from resnet.processes import PARENT, SAVING_SIGNAL, die_with_parent, unblock_signals
    from resnet.progress import send_to_parent
    from resnet.stage_table import STAGES
except BaseException as error:
    if not is_interruption(error):
        raise
    print("error: interrupted; the same command continues", file=sys.stderr)
    os._exit(EXIT_INTERRUPTED)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 10 locked by another process, 75 failed by what may
    pass, 130 interrupted."""
    options = _parser().parse_args(arguments)
    if PARENT in os.environ:
        die_with_parent(int(os.environ[PARENT]), signal.SIGTERM)
    signal.signal(SAVING_SIGNAL, signal.SIG_IGN)  # it would end a stage that cannot heed it
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the user does not need TensorFlow's start-up notes
    console.configure()
    try:
        unblock_signals()
        if options.command in COMMANDS:
            code = importlib.import_module(COMMANDS[options.command].module).main(options)
            console.require_output()
            return code or 0
        _run_stage(options)
        return 0
    except UserError as error:
        return _fail(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
        return _fail(NO_TENSORFLOW, UserError.exit_code)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        return _fail(f"{error.strerror}: {error.filename or options.artifacts}", kind_of(error).exit_code)
    except BaseException as error:
        if not is_interruption(error):
            raise
        way_on = "; the same command continues it" if options.command in STAGES else ""
        return _fail(f"{options.command} was interrupted{way_on}", EXIT_INTERRUPTED)


def _run_stage(options: argparse.Namespace) -> None:
    run = run_of(options)
    send_to_parent(message=f"{options.command}: starting")
    if getattr(options, "part", None) is not None:
        stages.run_part(run, options.part)
    else:
        stages.run_stage(options.command, run)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m resnet", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    groups = option_groups()
    for stage in STAGES.values():
        command = commands.add_parser(stage.name, help=stage.help, parents=[groups[name] for name in OF_STAGES])
        if stage.name == "convert":
            command.add_argument("--part", type=int, help="make only this one of records.parts, counted from 0")
    for row in COMMANDS.values():
        commands.add_parser(row.name, help=row.help, parents=[groups[name] for name in row.options])
    return parser


def _fail(message: str, code: int) -> int:
    if not send_to_parent(error=message):
        print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # At once: after Ctrl-C in some imports, Python's own way ends with another code; and it waits for threads, which
    # may wait for names of images that nobody wants an answer to.
    if code == EXIT_INTERRUPTED or console.reader_has_ended():
        os._exit(code)
    sys.exit(code)

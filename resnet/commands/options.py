"""The options that commands share, and the run that they describe."""

from __future__ import annotations

import argparse
from pathlib import Path

from resnet.errors import UserError
from resnet.exporting import FORMATS
from resnet.recipes import split_override
from resnet.run import Machine, Run, nearest_run, require_use_of_data, require_weights, runs_in

MOST_NAMED = 20  # runs, in a message
OF_STAGES = ("recipe", "run", "machine")  # the groups of options that every stage has


def option_groups() -> dict[str, argparse.ArgumentParser]:
    """Groups of options by name, as parents for a command's parser."""
    recipe = argparse.ArgumentParser(add_help=False)
    recipe.add_argument(
        "--recipe",
        default="",
        help="name of a shipped recipe, or a .toml file (default: the run's own, or else digits; import-weights: or "
        "else the usual one for the weights)",
    )
    recipe.add_argument(
        "--override", action="append", default=[], metavar="SECTION.KEY=VALUE", help="or a JSON list; repeatable"
    )
    machine = argparse.ArgumentParser(add_help=False)
    machine.add_argument("--workers", type=int, default=0, help="worker processes (default: one per core)")
    machine.add_argument("--devices", type=int, default=0, help="GPUs to train on (default: all)")
    machine.add_argument("--cpu-devices", type=int, default=1, help="logical devices to split the CPU into")
    machine.add_argument(
        "--replicas-at-once",
        type=int,
        default=0,
        help="replicas that a device runs in one pass, without training.deterministic (default: as its memory allows)",
    )
    machine.add_argument(
        "--step-minutes",
        type=float,
        default=Machine().step_minutes,
        help="minutes after which a training without a finished step stops (default: %(default)g; 0: never)",
    )
    weights = argparse.ArgumentParser(add_help=False)
    weights.add_argument("file", metavar="FILE", help=".safetensors, .pth, .bin, .h5 or .keras")
    return {
        "recipe": recipe,
        "run": _run("artifacts"),
        "run of luigi": _run(""),  # luigi.cfg has the default
        "machine": machine,
        "artifacts": _artifacts(),
        "runs": _runs(),
        "full run": _full_run(),
        "verify": _verify(),
        "replay": _replay(),
        "compare": _compare(),
        "adopt": _adopt(),
        "json": _json(),
        "picture": _picture(),
        "trash": _trash(),
        "finished run": _finished_run(),
        "images": _images(),
        "weights": weights,
        "export": _export(),
        "batch": _batch(),
        "learning rates": _learning_rates(),
    }


def _trash() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    actions = ("list", "restore", "empty")
    options.add_argument("action", nargs="?", choices=actions, default="list", help="default: list")
    options.add_argument(
        "names", nargs="*", metavar="NAME", help="of the folders, or of a run or data set (empty: all)"
    )
    options.add_argument("--artifacts", default="artifacts", help="folder that has the trash")
    options.add_argument("--yes", action="store_true", help="empty: without asking")
    options.add_argument("--swap", action="store_true", help="restore: what is in its place now moves to the trash")
    return options


def _run(artifacts: str) -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--data", default="", help="root of the images")
    options.add_argument("--run", default="", help="name of the run (default: the recipe's)")
    options.add_argument("--artifacts", default=artifacts, help="folder that everything is written under")
    options.add_argument(
        "--discard",
        action="append",
        default=[],
        metavar="STAGE",
        help="let the results of this stage, and of those that depend on it, move to the trash; several with commas",
    )
    return options


def _artifacts() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--artifacts", default="artifacts", help="folder that everything was written under")
    return options


def _runs() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    columns = ("run", "recipe", "state", "top1_error", "validation_error", "depth", "image_size", "epoch", "epochs")
    options.add_argument(
        "--sort", choices=(*columns, "seconds", "active"), default="active", help="default: newest first"
    )
    return options


def _verify() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--run", default="", help="name of a run, which is verified with its records (default: all)")
    options.add_argument("--mend", action="store_true", help="make corrupt shards again, from the images")
    return options


def _replay() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    steps = "the step of a checkpoint, or 0 for the beginning (default: that of the last but one)"
    options.add_argument("--from", dest="first", type=int, metavar="STEP", help=steps)
    options.add_argument("--steps", type=int, help="steps to train (default: up to the next checkpoint)")
    return options


def _full_run() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("folder", nargs="?", default="", metavar="DATA", help="root of the images, as --data")
    options.add_argument("--dry-run", action="store_true", help="say what would run, why, how long, and how much disk")
    return options


def _compare() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("runs", nargs="+", metavar="RUN", help="names; the others are compared with the first")
    options.add_argument("--html", action="store_true", help="write a page too, with the curves over each other")
    options.add_argument("--out", default="", metavar="FILE.html", help="the page (default: compare-RUN-RUN.html)")
    return options


def _picture() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--svg", default="", metavar="FILE.svg", help="draw the stages too, with state and duration")
    return options


def _adopt() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("folder", metavar="FOLDER", help="records/NAME or runs/NAME of another artifacts folder")
    options.add_argument("--name", default="", help="name of the records or the run here (default: the folder's)")
    return options


def _json() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--json", action="store_true", help="print JSON, for other programs")
    return options


def _export() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--format", required=True, choices=list(FORMATS), help="what the other runtime reads")
    return options


def _batch() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--step",
        type=int,
        required=True,
        help="which step, as log.jsonl and the names of checkpoints count: 1 is the first. A line of the log is the "
        "mean over all steps since the line before",
    )
    options.add_argument("--count", type=int, default=32, help="images to draw (default: 32); the table lists all")
    options.add_argument("--out", default="", metavar="FILE.png", help="default: RUN-step-N.png; the table is FILE.csv")
    return options


def _learning_rates() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--steps", type=int, default=200, help="learning rates to try, a step each (default: 200)")
    options.add_argument("--out", default="", metavar="FILE.svg", help="default: RUN-learning-rates.svg")
    return options


def _finished_run() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--run", required=True, help="name of a run")
    options.add_argument("--artifacts", default="artifacts", help="folder that the run was written under")
    return options


def _images() -> argparse.ArgumentParser:
    """Which images, and how to answer."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE|FOLDER|-",
        help="files and folders; -: an image from standard input, or names of files from there, each ended by the end "
        "of its line or by NUL",
    )
    form = options.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print an object a line (default: text that fits the line)")
    form.add_argument("--csv", action="store_true", help="print a table with a header")
    options.add_argument("--top", type=int, default=5, help="classes an image (default: 5); text shows as many as fit")
    options.add_argument("--workers", type=int, default=0, help="threads that decode (default: one per core)")
    return options


def artifacts_of(options: argparse.Namespace) -> Path:
    """The artifacts folder, as an absolute path."""
    return Path(options.artifacts).expanduser().absolute()


def existing_run(options: argparse.Namespace) -> Path:
    """The folder of the run that the options of the group "finished run" name. Raises UserError, without TensorFlow."""
    return run_in(artifacts_of(options), options.run)


def run_in(artifacts: Path, name: str) -> Path:
    """The folder of a run that is there. Raises UserError."""
    runs = runs_in(artifacts)
    if name not in runs:
        named = f"{', '.join(runs[:MOST_NAMED])}{', ...' if len(runs) > MOST_NAMED else ''}"
        there = f"The runs there: {named}." if runs else "There is none: train one, or give --artifacts."
        raise UserError(
            f"there is no run {name!r} in {artifacts / 'runs'}{nearest_run(artifacts, name) or '.'} {there}"
        )
    return artifacts / "runs" / name


def finished_run(options: argparse.Namespace) -> Path:
    """Likewise, of a run that has its weights with averaged statistics."""
    folder = existing_run(options)
    require_weights(folder)
    return folder


def run_of(options: argparse.Namespace, default_recipe: str = "digits") -> Run:
    """The run that the options of the groups recipe, run and, where it has them, machine describe.

    `default_recipe` is for a new run whose recipe the options do not name.
    """
    run = Run.of(
        options.recipe,
        [override for text in options.override for override in split_override(text)],
        name=options.run,
        artifacts=options.artifacts,
        data=options.data,
        discard=[name.strip() for names in options.discard for name in names.split(",")],
        machine=machine_of(options) if hasattr(options, "workers") else None,
        default_recipe=default_recipe,
    )
    require_use_of_data(run, options.data)
    return run


def machine_of(options: argparse.Namespace) -> Machine:
    """The machine that the options of the group "machine" describe."""
    for name in ("workers", "devices", "cpu_devices", "replicas_at_once", "step_minutes"):
        if getattr(options, name) < 0:
            raise UserError(f"--{name.replace('_', '-')} cannot be negative")
    return Machine(
        workers=options.workers or Machine().workers,
        devices=options.devices,
        cpu_devices=max(options.cpu_devices, 1),
        replicas_at_once=options.replicas_at_once,
        step_minutes=options.step_minutes,
    )

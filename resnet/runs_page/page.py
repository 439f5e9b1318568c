"""The page as HTML: which words and links each run and data set has on it."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from importlib import resources
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import jinja2

from resnet.inventory import KnownDataSet, KnownRun, State, read_inventory, run_in_words
from resnet.inventory.runs import Score
from resnet.inventory.stages import newest
from resnet.inventory.training_progress import TRAINING_LOSS
from resnet.progress import time_text
from resnet.report.names import readable
from resnet.run import luigi_command
from resnet.runs_page.curve import drawing, epoch_text, value_text
from resnet.stage_table import STAGES

REFRESH_SECONDS = 60
UNKNOWN = "unknown"
# A state has a sign besides its colour and its word: for who sees no colours, and for print.
SIGNS = {
    State.FINISHED: "✓",
    State.IMPORTED: "↓",
    State.STALE: "≠",
    State.RUNNING: "▶",
    State.INTERRUPTED: "‖",
    State.MISSING: "·",
    State.UNREADABLE: "✗",
}
FILES = {  # of a run, by what a reader calls them; the first that is there
    "report": ("report/report.html",),
    "report as text": ("report/report.md",),
    "predictions": ("evaluate/predictions.csv",),
    "weights": ("batchnorm/weights.safetensors", "train/weights.safetensors"),
    "training log": ("train/log.jsonl",),
    "recipe": ("recipe.toml",),
}


class Link(NamedTuple):
    """A file or folder that the page leads to, by its address relative to the page."""

    text: str
    address: str


def render(artifacts: Path) -> str:
    """The page of an artifacts folder as it is now. Whatever the names in it are, it can be encoded as UTF-8."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    runs, data_sets = read_inventory(artifacts)
    written = datetime.now(timezone.utc)
    template = resources.files("resnet.runs_page").joinpath("page.html").read_text(encoding="utf-8")
    page = environment.from_string(template).render(
        style=resources.files("resnet.report").joinpath("style.css").read_text(encoding="utf-8"),
        artifacts=artifacts,
        written=written,
        refresh=REFRESH_SECONDS if is_work_going_on(runs, data_sets, written) else None,
        summary=summary(runs, len(data_sets)),
        runs=runs,
        data_sets=data_sets,
        places={known.name: number for number, known in enumerate(data_sets)},
        used_by={known.name: [run for run in runs if run.settings.data_set == known.name] for known in data_sets},
        stages=STAGES,
        signs=SIGNS,
        State=State,
        headline=headline,
        go_on=go_on,
        error_text=error_text,
        training_text=training_text,
        drawing=drawing,
        links=lambda run: links(run, artifacts),
        address=lambda path: address(path, artifacts),
        size_text=size_text,
        count=count,
        local=local,
    )
    return readable(page)


def is_work_going_on(runs: list[KnownRun], data_sets: list[KnownDataSet], now: datetime) -> bool:
    """Whether a stage is running, or may be about to: between two stages of a run nothing is, for some seconds."""
    stages = [known.convert for known in data_sets] + [facts for run in runs for facts in run.stages.values()]
    if any(facts.state is State.RUNNING for facts in stages):
        return True
    unfinished = [run for run in runs if run.state is State.MISSING]
    ends = [facts.last_activity for run in unfinished for facts in run.stages.values()]
    return (now - newest(ends)).total_seconds() < REFRESH_SECONDS


def summary(runs: list[KnownRun], data_sets: int) -> str:
    """ "12 runs: 1 running, 9 finished, 2 interrupted. 3 data sets."."""
    counts = {state: sum(run.state is state for run in runs) for state in State}
    parts = [f"{number:,} {run_in_words(state)}" for state, number in counts.items() if number]
    named = f"{count(len(runs), 'run')}{': ' if parts else ''}{', '.join(parts)}"
    return f"{named}. {count(data_sets, 'data set')}."


def headline(run: KnownRun) -> str:
    """The state of a run in a few words, with the stages that it is about."""
    if run.state is State.FINISHED:
        return "finished"
    if run.state is State.UNREADABLE and not run.settings.recipe:
        return "unreadable"
    titles = ", ".join(STAGES[name].title for name in run.stages_in(run.state))
    return f"{run.state.value}: {titles}"


def go_on(run: KnownRun) -> str:
    """The command that finishes a run that nobody works on; empty where that is not known, or it is finished."""
    is_open = run.state in (State.INTERRUPTED, State.STALE, State.MISSING)
    return luigi_command("FullRun", run.folder) if is_open and not run.problems else ""


def error_text(score: Score) -> tuple[str, str]:
    """An error, and its interval: "1.11 %" and "0.43 to 2.83"."""
    interval = f"{score.interval[0]:.2f} to {score.interval[1]:.2f}" if score.interval else ""
    return f"{score.top1_error:.2f} %", interval


def training_text(run: KnownRun) -> list[str]:
    """How far training is, how long it took, and while it is not finished what its curve does not say."""
    train, training, epochs = run.stages["train"], run.training, run.settings.epochs
    if train.state is State.IMPORTED:
        return ["weights from elsewhere"]
    if training.epoch is None or training.seconds is None:
        return ["no log"] if train.is_finished else []
    epoch = min(training.epoch, epochs or training.epoch)
    took = time_text(training.seconds)
    if train.is_finished:
        return [f"{epoch_text(epoch)} {'epoch' if epoch == 1 else 'epochs'} in {took}"]
    lines = [f"{epoch_text(epoch)} of {epochs or UNKNOWN} {'epoch' if epochs == 1 else 'epochs'} in {took}"]
    if train.state is State.RUNNING and epochs and 0 < epoch < epochs:
        lines.append(f"about {time_text(training.seconds * (epochs / epoch - 1))} left")
    if training.loss is not None and training.curve.what != TRAINING_LOSS:  # whose caption has it
        lines.append(f"{TRAINING_LOSS} {value_text(training.loss)}")
    return lines


def links(run: KnownRun, artifacts: Path) -> list[Link]:
    """What of a run is there to be opened."""
    found = []
    for text, names in FILES.items():
        present = [run.folder / name for name in names if (run.folder / name).is_file()]
        found += [Link(text, address(path, artifacts)) for path in present[:1]]
        if text == "predictions":
            others = sorted((run.folder / "evaluate").glob("predictions-*.csv"))
            found += [Link(f"{path.stem.replace('-', ' ', 1)}", address(path, artifacts)) for path in others]
    exports = sorted(path for path in (run.folder / "export").glob("[!.]*") if path.is_dir())
    return found + [Link(f"{path.name} export", address(path, artifacts) + "/") for path in exports]


def address(path: Path, artifacts: Path) -> str:
    """The address of a file relative to the page; of a name that is not UTF-8, its bytes."""
    return quote(os.fsencode(path.relative_to(artifacts)))


def local(time: datetime | None) -> str:
    """A time as this machine's clock shows it: "2026-11-26 14:03"."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M") if time else UNKNOWN


def size_text(size: int) -> str:
    """ "792 kB", "56.0 MB", "146 GB"."""
    amount, unit = float(size), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if amount >= 100 or unit == "bytes" else f"{amount:.1f} {unit}"


def count(number: int | None, noun: str = "", plural: str = "") -> str:
    """ "1 run", "12 runs"; "unknown" for None."""
    if number is None:
        return UNKNOWN
    return f"{number:,}" + (f" {noun if number == 1 else plural or noun + 's'}" if noun else "")

"""What is known of the runs in an artifacts folder: settings, states, scores, and how far training is."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from resnet.checked_json import read_json
from resnet.errors import UserError
from resnet.files import sha256
from resnet.inventory.data_sets import KnownDataSet
from resnet.inventory.stages import StageFacts, State, count_at, folders_in, newest, number_at, read_stage
from resnet.inventory.training_progress import TrainingProgress, read_progress
from resnet.run import name_of_records
from resnet.stage_table import STAGES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class StoredSettings(NamedTuple):
    """What the files of a run's own folder say about how it was asked for; None and "" where they do not."""

    recipe: str = ""  # its name
    data_set: str = ""  # the name of its folder of records
    depth: int | None = None  # layers
    image_size: int | None = None  # pixels
    epochs: int | None = None


class Score(NamedTuple):
    """The error in one view of the validation images, in percent, and its 95 % interval."""

    view: str
    top1_error: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class KnownRun:
    """A run's folder. `problems`: a sentence for each thing in it that cannot be read or believed."""

    folder: Path
    settings: StoredSettings
    stages: Mapping[str, StageFacts]  # by name, in the order of the table
    scores: tuple[Score, ...]  # the first one is quoted
    training: TrainingProgress
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def last_activity(self) -> datetime:
        """When something was last written, as far as that is known."""
        own = [facts.last_activity for name, facts in self.stages.items() if name != "convert"]
        if not self.stages["train"].is_finished:
            own.append(self.training.written)
        return newest(own)

    def stages_in(self, *states: State) -> list[str]:
        """The names of the stages in one of these states."""
        return [name for name, facts in self.stages.items() if facts.state in states]

    @property
    def state(self) -> State:
        """The state of the run as a whole: the one of its stages that most needs attention.

        FINISHED where every stage is finished. A run whose stages are some finished and some not run is MISSING those.
        """
        if not self.settings.recipe:
            return State.UNREADABLE
        order = (State.RUNNING, State.UNREADABLE, State.INTERRUPTED, State.STALE, State.MISSING)
        return next((state for state in order if self.stages_in(state)), State.FINISHED)


def run_in_words(state: State) -> str:
    """The state of a run as a whole, for people: one that lacks stages is not missing itself."""
    return "not finished" if state is State.MISSING else state.value


def read_runs(folder: Path, data_sets: Iterable[KnownDataSet]) -> list[KnownRun]:
    """Every run in a folder `runs`, that with the newest activity first."""
    conversions = {known.name: known.convert for known in data_sets}
    found = [_read(path, conversions) for path in folders_in(folder)]
    return sorted(found, key=lambda known: known.last_activity, reverse=True)


def _read(folder: Path, conversions: Mapping[str, StageFacts]) -> KnownRun:
    settings, problem = _read_settings(folder)
    convert = conversions.get(settings.data_set, StageFacts(State.MISSING))
    stages = _with_stale_ones({name: convert if name == "convert" else read_stage(folder / name) for name in STAGES})
    training = read_progress(folder / "train" / "log.jsonl")
    scores = read_scores(stages["evaluate"].record)
    problems = [problem, *(facts.why for facts in stages.values() if facts.state is State.UNREADABLE), training.problem]
    if stages["evaluate"].is_finished and not scores:
        problems.append(f"{folder / 'evaluate' / 'stage.json'} has no errors that can be shown")
    return KnownRun(folder, settings, stages, scores, training, tuple(filter(None, problems)))


def _read_settings(folder: Path) -> tuple[StoredSettings, str]:
    """What the run has stored, and why that is not all, if it is not."""
    path = folder / "recipe.toml"
    try:
        if not path.is_file():
            return StoredSettings(), f"{folder} is not the folder of a run: it has no recipe.toml"
        facts = read_json(folder / "run.json", {"recipe", "data", "recipe.toml"}, "Delete it.") or {}
        if (known := facts.get("recipe.toml")) and sha256(path) not in known:
            return StoredSettings(str(facts["recipe"])), f"{path} differs from what the run stored"
        values: Any = tomllib.loads(path.read_text(encoding="utf-8"))
        dataset, data = values.get("dataset", {}), facts.get("data")
        return (
            StoredSettings(
                str(facts.get("recipe", folder.name)),  # of an earlier version, where there is no run.json
                name_of_records(dataset.get("name", ""), dataset.get("source", ""), Path(data) if data else None),
                count_at(values, "model", "depth"),
                count_at(values, "model", "image_size"),
                count_at(values, "training", "epochs"),
            ),
            "",
        )
    except UserError as error:
        return StoredSettings(), str(error)
    except OSError as error:
        return StoredSettings(), f"{path} cannot be read: {error.strerror}"
    except (ValueError, TypeError, AttributeError, RecursionError) as error:  # not TOML, or not a recipe
        return StoredSettings(), f"{path} cannot be understood: {error}"


def _with_stale_ones(stages: dict[str, StageFacts]) -> dict[str, StageFacts]:
    """The same stages, where one is stale if it was made from other results than what it depends on has now."""
    for name, facts in stages.items():
        if facts.is_finished and facts.state is not State.STALE and (reasons := _why_stale(name, facts, stages)):
            stages[name] = StageFacts(State.STALE, facts.record, ", ".join(reasons))
    return stages


def _why_stale(name: str, facts: StageFacts, stages: Mapping[str, StageFacts]) -> list[str]:
    """What a finished stage depends on, by its record, that is not what it was made from."""
    inputs = facts.record.get("inputs")
    reasons = []
    for needed in STAGES[name].inputs:
        if isinstance(inputs, Mapping) and needed in inputs and stages[needed].is_finished:
            if stages[needed].state is State.STALE:
                reasons.append(f"{needed} is stale")
            elif stages[needed].record.get("digest") != inputs[needed]:
                reasons.append(f"{needed} has changed since")
    return reasons


def read_scores(record: Mapping[str, Any]) -> tuple[Score, ...]:
    """The errors that the stage.json of Evaluate has, in each view."""
    metrics = record.get("metrics")
    views = metrics.get("views") if isinstance(metrics, Mapping) else None
    found = []
    for view, scores in views.items() if isinstance(views, Mapping) else ():
        error = number_at(scores, "top1_error")
        if error is not None:
            found.append(Score(view, error, _interval(scores.get("top1_error_interval"))))
    return tuple(found)


def _interval(value: object) -> tuple[float, float] | None:
    ends = [number_at({"end": end}, "end") for end in value] if isinstance(value, list) else []
    return (ends[0], ends[1]) if len(ends) == 2 and ends[0] is not None and ends[1] is not None else None

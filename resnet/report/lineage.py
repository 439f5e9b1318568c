"""From source to result: what each stage made out of what, with which software, how long it took; and the commands
that do it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resnet.errors import UserError
from resnet.recipes import load_recipe, shipped_recipes
from resnet.report.results import Results, work_seconds
from resnet.run import Run
from resnet.settings import Recipe, without_derived
from resnet.stage_table import STAGES

INPUTS = {name: stage.title for name, stage in STAGES.items()} | {"start_from": "weights that training started from"}
RESULT_FILES = {
    "train": "weights.safetensors",
    "batchnorm": "weights.safetensors",
    "evaluate": "predictions.csv",
}


@dataclass(frozen=True)
class StageFacts:
    """A stage's work. Digests are SHA-256; `seconds` are of work, over all attempts."""

    name: str
    title: str
    attempts: int
    seconds: float
    end: str  # ISO 8601
    commit: str | None
    peak_memory: Any  # as stage.json has it; None in those of earlier versions
    made_from: dict[str, str | None]  # digests by name: of the images' listing, of weights, of stages
    digest: str
    file: str  # of its result, relative to the folder of artifacts; empty where there are several
    file_digest: str


@dataclass(frozen=True)
class Repetition:
    """How to do it again. `commands`: lines for a shell. `caution`: what stands in the way of the same bytes."""

    commands: list[str]
    needs_recipe_file: bool
    weights_digest: str
    comparison: str
    cautions: list[str]


def stage_facts(results: Results) -> list[StageFacts]:
    """A row a stage, in the order of work."""
    return [_stage(results, name, record) for name, record in results.stages.items()]


def _stage(results: Results, name: str, record: Mapping[str, Any]) -> StageFacts:
    inputs: dict[str, str | None] = {}
    if name == "convert" and (listing := record.get("source", {}).get("listing")):
        inputs["images (their listing)"] = listing
    if imported := record.get("imported"):
        inputs["weights"] = imported["sha256"]
    inputs |= {INPUTS.get(key, key): digest for key, digest in record.get("inputs", {}).items()}
    file = RESULT_FILES.get(name, "")
    output = record.get("outputs", {}).get(file, {})
    return StageFacts(
        name=name,
        title=STAGES[name].title,
        attempts=record["attempts"],
        seconds=work_seconds(record),
        end=record["end"],
        commit=record.get("git_commit"),
        peak_memory=record.get("peak_memory"),
        made_from=inputs,
        digest=record.get("digest", ""),
        file=f"runs/{results.run.name}/{name}/{file}" if output else "",
        file_digest=output.get("sha256", ""),
    )


def repetition(results: Results) -> Repetition:
    """The commands that repeat a run, from a checkout to a comparison of the weights."""
    run, train = results.run, results.stages["train"]
    digest = results.stages["batchnorm"].get("outputs", {}).get("weights.safetensors", {}).get("sha256", "")
    commit = train.get("git_commit")
    options, needs_file = _options(run)
    weights = f"artifacts/runs/{run.name}/batchnorm/weights.safetensors"
    lines = [
        "git clone REPOSITORY resnet-pipeline && cd resnet-pipeline",
        f"git checkout {commit.removesuffix('+changes')}" if commit else "# the commit is not known",
        "python3 -m venv .venv",
        f".venv/bin/pip install --require-hashes -r requirements/{_extra(train)}.lock",
        ".venv/bin/pip install --no-deps --no-build-isolation --editable .",
    ]
    if results.imported:
        file = shlex.quote(results.imported["file"])
        lines += [
            f"sha256sum {file}  # {results.imported['sha256']}",
            f".venv/bin/python -m resnet import-weights {file} {options}",
            f".venv/bin/luigi --module pipeline FullRun --local-scheduler --run {run.name}{_data(run)}",
        ]
    else:
        lines.append(f".venv/bin/luigi --module pipeline FullRun --local-scheduler {options}{_data(run)}")
    if digest:
        lines.append(f"sha256sum {weights}  # {digest}")
    devices = ", ".join(train["devices"]) if "devices" in train else "the devices that they were made on"
    comparison = (
        f"The weights have the same SHA-256 on the same kind of devices ({devices}) and versions. On others they agree "
        "to rounding at first and drift apart over many steps; then compare the errors, by McNemar's test."
    )
    return Repetition(lines, needs_file, digest, comparison, _cautions(results, commit))


def _extra(train: Mapping[str, Any]) -> str:
    """Which lock file has the TensorFlow that was used."""
    return "cpu" if "tensorflow-cpu" in train["packages"] else "gpu"


def _data(run: Run) -> str:
    return f" --data {shlex.quote(str(run.data))}" if run.data else ""


def _options(run: Run) -> tuple[str, bool]:
    """--run, --recipe and --override of a run, and whether the recipe is a file that must be saved first."""
    name = f"--run {run.name}"
    if run.recipe_name in shipped_recipes():
        overrides = _overrides(run.recipe, load_recipe(run.recipe_name)[1])
        try:
            is_same = load_recipe(run.recipe_name, overrides)[1] == run.recipe
        except UserError:
            is_same = False
        if is_same:
            given = f" --override {shlex.quote(json.dumps(overrides, ensure_ascii=False))}" if overrides else ""
            return f"{name} --recipe {run.recipe_name}{given}", False
    return f"{name} --recipe {shlex.quote(run.recipe_name + '.toml')}", True


def _overrides(recipe: Recipe, shipped: Recipe) -> list[str]:
    """What the recipe changes of a shipped one, as SECTION.KEY=VALUE."""
    ours, theirs = without_derived(recipe.model_dump()), shipped.model_dump()
    return [
        f"{section}.{key}={json.dumps(value, ensure_ascii=False)}"
        for section, settings in ours.items()
        for key, value in settings.items()
        if value != theirs[section][key]
    ]


def _cautions(results: Results, commit: str | None) -> list[str]:
    """What may keep these commands from giving the same bytes."""
    train, found = results.stages["train"], []
    if commit is None:
        found.append("The code was not in a git checkout, so its commit is not known.")
    elif commit.endswith("+changes"):
        found.append("The code had changes that are not in this commit.")
    commits = {record.get("git_commit") for record in results.stages.values() if record.get("git_commit")}
    if len(commits) > 1:
        found.append(
            "The stages were run by different commits: the table of stages has them. The one of Train is used."
        )
    if results.run.data and not results.imported:
        found.append(f"The images must be those of {results.run.data}, file by file.")
    if started := results.started_from:
        what = f"run {started['run']}" if started.get("run") else started.get("file", "")
        found.append(f"Training started from {what} (SHA-256 {started['sha256']}), which must be there.")
    if not (results.run.recipe.training.deterministic or results.imported):
        found.append(
            "training.deterministic was false: numbers may be added in another order, so the bytes may differ."
        )
    if train.get("corrupt_records"):
        found.append("Corrupt records were substituted, as the table above says.")
    return found

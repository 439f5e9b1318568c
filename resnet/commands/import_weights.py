"""Make a run of weights from elsewhere, to evaluate, use and export them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from resnet.commands.options import run_of
from resnet.errors import UserError
from resnet.run import Run
from resnet.runs_page import kept_current
from resnet.stages import without_startup_notes

if TYPE_CHECKING:
    from resnet.weights.sources import Source


def main(options: argparse.Namespace) -> None:
    """Read the file, check all of it, and write the run's finished weights."""
    with without_startup_notes():
        from resnet.importing import import_weights, usual_recipe
        from resnet.weights.sources import OtherNetwork, read_source

    source = read_source(Path(options.file).expanduser().absolute())
    usual = usual_recipe(source)
    run = run_of(options, default_recipe=usual or "digits")
    if not (usual or options.recipe or (options.run and run.stored_recipe.exists())):
        raise UserError(
            f"give the recipe that {source.path} was trained with: --recipe NAME or FILE.toml, such as the recipe.toml "
            "in the folder of the run that it comes from"
        )
    is_assumed = usual.startswith("torchvision") and not options.recipe and run.recipe_name == usual
    try:
        with kept_current(run.artifacts):
            is_new = import_weights(source, run)
    except OtherNetwork as error:
        raise UserError(f"{error}{_hint(options, usual, run)}") from None
    print("\n".join(f"import-weights: {line}" for line in summary(source, run, is_new, is_assumed)))


def _hint(options: argparse.Namespace, usual: str, run: Run) -> str:
    """The way that is probably meant where weights do not fit the recipe; empty where there is none."""
    if options.recipe and usual and options.recipe != usual:
        return f"\nWithout --recipe, in a run of their own, these weights take recipe {usual}."
    if options.run and not options.recipe and run.stored_recipe.exists():
        return f"\nRun {run.name} exists, with recipe {run.recipe_name}: a name of their own is --run NAME."
    return ""


def summary(source: Source, run: Run, is_new: bool, is_assumed: bool) -> list[str]:
    """What was imported, what it is evaluated with, and how to go on. `is_assumed`: the recipe is the usual one."""
    model, evaluation, size = run.recipe.model, run.recipe.evaluation, run.recipe.evaluation_size
    data = "" if run.data else " --data IMAGES"
    return [
        f"ResNet-{model.depth} as in {source.layout}, {source.outputs:,} classes, SHA-256 {source.sha256[:8]}...",
        f"run {run.name}, recipe {run.recipe_name}{'' if is_new else ': up to date'}",
        *(["how they were trained is not in the file: other recipes are in docs/weights.md"] if is_assumed else []),
        f"normalization {model.normalization}, stride in the {model.stride_in}, epsilon {model.epsilon:g}",
        f"evaluation: shorter side {evaluation.shorter_side}, centre {size}, {evaluation.interpolation}",
        f"go on with: {run.luigi_command('Report')}{data}",
    ]

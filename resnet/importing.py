"""Weights from elsewhere become a run whose Train and BatchNormStatistics are finished: Evaluate and Report go on."""

from __future__ import annotations

from collections.abc import Sequence

from resnet.errors import UserError
from resnet.ledger import Ledger
from resnet.ledger.locking import importing
from resnet.model.network import network_of
from resnet.records.shards import read_classes
from resnet.run import Run
from resnet.weights.safetensors_files import assign, write_weights
from resnet.weights.sources import Source, require_settings

STAGES = ("train", "batchnorm")  # trained weights with their statistics are what both would have written
RECIPES = {"torchvision or timm": "torchvision-resnet{depth}-v1", "Keras": "keras-resnet{depth}"}  # by layout


def usual_recipe(source: Source) -> str:
    """The shipped recipe that weights of this layout usually go with; empty where there is none."""
    return RECIPES.get(source.layout, "").format(depth=source.settings["depth"])


def import_weights(source: Source, run: Run) -> bool:
    """Write the run's weights; returns whether they were not there already.

    Everything is checked before the first file is written. Raises UserError where the weights do not fit the run.
    """
    ledger = Ledger(run, lambda: None)
    require_settings(source, run.recipe.model)
    classes = _classes(source, run)
    network = network_of(run.recipe, source.outputs)
    assign(network.named_variables(), source.tensors, source.path)
    with importing(ledger, STAGES, {"file": str(source.path), "sha256": source.sha256}) as attempts:
        for attempt in attempts or ():
            attempt.begin()
        for attempt in attempts or ():
            weights = write_weights(attempt.folder / "weights.safetensors", network, classes)
            attempt.finish([weights], devices=[], parameters=network.parameters)
        return attempts is not None


def _classes(source: Source, run: Run) -> Sequence[tuple[str, str]]:
    """The classes of the weights, as far as they are known. Raises UserError where they are not those of the run."""
    expected = run.recipe.dataset.classes
    if expected and expected != source.outputs:
        raise UserError(
            f"{source.path} has {source.outputs:,} classes, and recipe {run.recipe_name} is for {expected:,}. Write a "
            f'recipe with base = "{run.recipe_name}" and a [dataset] of its own, as in docs/weights.md, and give it '
            "with --recipe."
        )
    if not (run.records / "classes.txt").is_file():
        return source.classes
    classes = read_classes(run.records)
    if len(classes) != source.outputs:
        raise UserError(
            f"{source.path} has {source.outputs:,} classes, and the records in {run.records} have {len(classes):,}. "
            "Give the images that it was trained for: --override dataset.name=NAME"
        )
    if source.classes and [identifier for identifier, _ in source.classes] != [name for name, _ in classes]:
        raise UserError(
            f"{source.path} names other classes than the records in {run.records}, or in another order. "
            "Give the images that it was trained for: --override dataset.name=NAME"
        )
    return classes

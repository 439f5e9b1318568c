"""A trained network, ready to classify images: what a finished run holds, wherever its folder is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resnet.devices import make_strategy
from resnet.errors import UserError
from resnet.inference import Predictor
from resnet.model.network import network_of
from resnet.recipes import load_recipe
from resnet.records.shards import read_classes
from resnet.run import Machine, Run
from resnet.settings import Recipe
from resnet.weights.safetensors_files import assign, read_tensors


class Classifier:
    """A network with its weights, the recipe that says how it looks at images, and its classes.

    `classes` has each class's identifier and readable name, in the order of the network's outputs.
    """

    def __init__(
        self, recipe: Recipe, tensors: dict[str, np.ndarray], classes: Sequence[tuple[str, str]], origin: Path
    ):
        self.recipe, self.classes = recipe, list(classes)
        strategy = make_strategy(Machine())
        with strategy.scope():
            self.network = network_of(recipe, len(self.classes))
        assign(self.network.named_variables(), tensors, origin)
        self._predictor = Predictor(self.network, strategy)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Float32 logits [n, classes] of uint8 RGB images [n, size, size, 3], as the network sees them."""
        return self._predictor(images)


def load_classifier(folder: str | Path) -> Classifier:
    """The classifier in a run's folder, such as artifacts/runs/digits. Raises UserError if it is not finished."""
    folder = Path(folder).expanduser().absolute()
    recipe, weights = folder / "recipe.toml", folder / "batchnorm" / "weights.safetensors"
    if not recipe.is_file():
        raise UserError(f"{folder} is not the folder of a run: it has no recipe.toml")
    if not weights.is_file() or not weights.with_name("stage.json").is_file():
        raise UserError(
            f"{folder} has no finished weights yet. Finish the run: "
            f"luigi --module pipeline BatchNormStatistics --local-scheduler --run {folder.name}"
        )
    tensors, facts = read_tensors(weights)
    _, settings = load_recipe(str(recipe), lenient=True)
    return Classifier(settings, tensors, _classes(folder, facts), weights)


def _classes(folder: Path, facts: dict) -> list[tuple[str, str]]:
    """The classes that the weights name; those of an earlier version do not, and their records do."""
    if "classes" in facts:
        return [(identifier, name) for identifier, name in facts["classes"]]
    run = Run.of(name=folder.name, artifacts=folder.parent.parent)
    return list(read_classes(run.records))

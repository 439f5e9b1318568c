"""A trained network, ready to classify images: what a finished run holds, wherever its folder is."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy.special import softmax

from resnet.datasets.imagenet import shipped_classes
from resnet.devices import shared_strategy
from resnet.errors import UserError
from resnet.files import sha256
from resnet.inference import LIKELIEST, Predictor, likeliest
from resnet.ledger.displacing import STALE
from resnet.ledger.state_files import read_state
from resnet.loader.files import ImageFile, Pixels, Seen, Source, View, look_at
from resnet.model.network import network_of
from resnet.processes import cores
from resnet.records.shards import read_classes
from resnet.run import Run, require_weights, stored_recipe
from resnet.settings import Recipe
from resnet.weights.safetensors_files import assign
from resnet.weights.tensor_files import read_tensors

logger = logging.getLogger(__name__)

# Not training.batch_size: larger batches make no CPU faster, and the first answers would come later. The last batch has
# the size that it has: TensorFlow traces the network once more, for any size, and no padding is computed.
BATCH = 64  # images

Image: TypeAlias = "str | os.PathLike[str] | np.ndarray"


class Answer(NamedTuple):
    """A class that an image may be of."""

    identifier: str  # the class's folder, or WordNet id
    name: str  # for people
    probability: float


class Prediction(NamedTuple):
    """What the network says of an image."""

    file: str | None  # None: the image was an array
    top: list[Answer]  # the likeliest classes, likeliest first; empty where there is an error
    error: str = ""  # why the file could not be read
    warning: str = ""  # what is not in order with a file that was decoded all the same


class Classifier:
    """A network with its weights, the recipe that says how it looks at images, and its classes.

    `classes` has each class's identifier and readable name, in the order of the network's outputs. Images are paths of
    files, or arrays: uint8 RGB [height, width, 3] or grey [height, width]. They are shown as Evaluate shows them.
    """

    def __init__(
        self, recipe: Recipe, tensors: dict[str, np.ndarray], classes: Sequence[tuple[str, str]], origin: Path
    ):
        self.recipe, self.classes = recipe, list(classes)
        strategy = shared_strategy()
        with strategy.scope():
            self.network = network_of(recipe, len(self.classes))
        assign(self.network.named_variables(), tensors, origin)
        self._predictor = Predictor(self.network, strategy)

    def predict(self, images: Iterable[Image], top: int = LIKELIEST) -> list[Prediction]:
        """The `top` likeliest classes of each image, in the order given. A file that cannot be read has an `error`.

        Raises ValueError for what is neither a path nor an array, or for an array that is no image.
        """
        return list(self.stream(_sources(images), top))

    def stream(self, sources: Iterable[Source], top: int = LIKELIEST, workers: int = 0) -> Iterator[Prediction]:
        """A prediction for each source, in their order, as soon as its batch is computed.

        `workers` threads decode; 0: as many as there are cores.
        """
        if top < 1:
            raise ValueError(f"top must be at least 1, not {top}")
        for batch, logits in self._computed(sources, workers):
            answers = iter(self._answers(logits, top))
            for seen in batch:
                yield Prediction(seen.file, [] if seen.error else next(answers), seen.error, seen.warning)

    def probabilities(self, images: Iterable[Image]) -> np.ndarray:
        """The probability of each class, float32 [n, classes]. Raises what `logits` raises."""
        return softmax(self.logits(images), 1)

    def logits(self, images: Iterable[Image]) -> np.ndarray:
        """Float32 [n, classes]. Raises UserError for a file that cannot be read, ValueError for a wrong array."""
        parts = []
        for batch, logits in self._computed(_sources(images), 0):
            for seen in batch:
                if seen.error:
                    raise UserError(f"{seen.file} cannot be read: {seen.error}")
            parts.append(logits)
        return np.concatenate(parts) if parts else np.empty((0, len(self.classes)), np.float32)

    def _computed(self, sources: Iterable[Source], workers: int) -> Iterator[tuple[list[Seen], np.ndarray]]:
        """Batches of images, with the logits of those that could be read.

        The network computes in a thread of its own, a batch ahead of the caller. So Ctrl-C does not wait for it.
        """
        images = look_at(sources, View.of(self.recipe), workers or cores())
        nothing = np.empty((0, len(self.classes)), np.float32)

        def compute() -> tuple[list[Seen], np.ndarray]:
            batch = list(islice(images, BATCH))
            pixels = [seen.pixels for seen in batch if seen.pixels is not None]
            return batch, self._predictor(np.stack(pixels)) if pixels else nothing

        thread = ThreadPoolExecutor(1, "computing")
        try:
            coming = thread.submit(compute)
            while (computed := coming.result())[0]:
                coming = thread.submit(compute)
                yield computed
        finally:
            thread.shutdown(wait=False, cancel_futures=True)

    def _answers(self, logits: np.ndarray, top: int) -> list[list[Answer]]:
        places = likeliest(logits, top)
        probabilities = np.take_along_axis(softmax(logits.astype(np.float64), 1), places, 1)

        def answer(place: int, probability: float) -> Answer:
            identifier, name = self.classes[place]
            return Answer(identifier, name, probability)

        return [list(map(answer, *row)) for row in zip(places.tolist(), probabilities.tolist(), strict=True)]


def load_classifier(folder: str | os.PathLike[str]) -> Classifier:
    """The classifier in a run's folder, such as artifacts/runs/digits, or a copy of that folder without its records.

    Raises UserError if the run is not finished, or its files are damaged or do not belong together.
    """
    folder = Path(folder).expanduser().absolute()
    recipe, weights = stored_recipe(folder), require_weights(folder)
    tensors, facts = read_tensors(weights)
    _check_written(weights)
    _check_settings(facts.get("settings", {}), recipe, weights)
    if weights.with_name(STALE).exists():
        logger.warning("%s is stale: it does not belong to what the run has now; %s beside it says why", weights, STALE)
    outputs = len(tensors.get("classifier/bias", ()))
    return Classifier(recipe, tensors, _classes(folder, recipe, facts, outputs), weights)


def _check_written(weights: Path) -> None:
    """Raise UserError where these are not the weights that the run finished with."""
    outputs = (read_state(weights.with_name("stage.json")) or {}).get("outputs", {})
    if weights.name not in outputs or sha256(weights) != outputs[weights.name]["sha256"]:
        raise UserError(
            f"{weights} is corrupt: it differs from what batchnorm wrote. Copy the run again; or delete the file, and "
            "the same command says how to make it again."
        )


def _check_settings(trained_with: dict[str, object], recipe: Recipe, weights: Path) -> None:
    """Raise UserError where the run was given another network after these weights were trained."""
    for name, value in trained_with.items():
        if (wanted := getattr(recipe.model, name, value)) != value:
            raise UserError(
                f"{weights} was trained with model.{name} = {value}, and the run's recipe now says {wanted}. "
                "Finish the run with its new settings, or set them back."
            )


def _classes(folder: Path, recipe: Recipe, facts: dict, outputs: int) -> list[tuple[str, str]]:
    """The classes that the weights name; those of an earlier version, or from elsewhere, do not."""
    if "classes" in facts:
        return [(identifier, name) for identifier, name in facts["classes"]]
    if recipe.dataset.source == "imagenet" and outputs == len(shipped := shipped_classes()):
        return shipped
    records = Run.of(name=folder.name, artifacts=folder.parent.parent).records
    try:
        classes = list(read_classes(records))
    except UserError:
        raise UserError(
            f"{folder} does not say what its classes are called, and there are no records in {records}. "
            "Copy them, or only their classes.txt, to there."
        ) from None
    if len(classes) != outputs:
        raise UserError(f"{records} has {len(classes)} classes, and the network of {folder} {outputs}: not its records")
    return classes


def _sources(images: Iterable[Image]) -> Iterator[Source]:
    """Raises ValueError for one image where several are expected, or for what is neither a path nor an array."""
    if isinstance(images, (str, bytes, os.PathLike, np.ndarray)):
        raise ValueError("give a list of images, even for a single one: [image]")
    return map(_source, images)


def _source(image: Image) -> Source:
    if isinstance(image, np.ndarray):
        return Pixels(image)
    if isinstance(image, (str, os.PathLike)):
        return ImageFile(os.fsdecode(image))
    raise ValueError(
        f"an image must be a path or an array, not {type(image).__name__}. (From an image of Pillow: "
        'numpy.asarray(image.convert("RGB")).)'
    )

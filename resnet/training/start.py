"""How a network starts from trained weights: which layers it takes, and which stay new."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from resnet.model.network import CLASSIFIER, ResNet, layer_of
from resnet.weights.safetensors_files import assign
from resnet.weights.sources import Source

LAYERS = ("stem", "stage1", "stage2", "stage3", "stage4", CLASSIFIER)  # from the image to the answer


class Started(NamedTuple):
    """The names of the layers that were taken and of those that are new: "stem", "stage1" and so on."""

    taken: list[str]
    new: list[str]
    reason: str  # why the classifier was taken, or is new


def take_layers(source: Source, network: ResNet, classes: Sequence[tuple[str, str]]) -> Started:
    """Set a network's weights and statistics to a source's, without the classifier where the classes differ.

    `classes`: identifier and name of each class that the network is for. Raises UserError where names or shapes of
    layers differ.
    """
    different, reason = _compared(source, classes)
    new = [CLASSIFIER] if different else []
    variables = {name: variable for name, variable in network.named_variables().items() if layer_of(name) not in new}
    assign(variables, {name: source.tensors[name] for name in source.tensors if layer_of(name) not in new}, source.path)
    return Started(in_order({layer_of(name) for name in variables}), new, reason)


def in_order(layers: Collection[str]) -> list[str]:
    """Names of layers, from the image to the answer."""
    return sorted(layers, key=LAYERS.index)


def _compared(source: Source, classes: Sequence[tuple[str, str]]) -> tuple[bool, str]:
    """Whether the classes differ from those of the source, and a few words on that. Names may differ, identifiers not:
    where the source has none, the number decides."""
    if source.outputs != len(classes):
        return True, f"for {len(classes):,} classes instead of {source.outputs:,}"
    if not source.classes:
        return False, f"{source.outputs:,} classes in both; the file does not name its own"
    for (was, _), (now, _) in zip(source.classes, classes, strict=True):
        if was != now:
            return True, f"for other classes: {now} instead of {was}"
    return False, "the classes are the same"

"""This project's own files of weights: which network they are for is in their header."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnet.errors import UserError
from resnet.settings import Model
from resnet.weights.fitting import variable_shapes
from resnet.weights.layouts import Layout, Settings, Stored, Table, Theirs, has_bottlenecks
from resnet.weights.safetensors_header import header_of, is_safetensors
from resnet.weights.tensor_files import UnreadableTensors, tensors_in

OWN = "this project"


def is_own(content: bytes) -> bool:
    """Whether it is the content of a safetensors file with our names."""
    return is_safetensors(content) and b"stem/conv/kernel" in header_of(content)


def read_own(content: bytes, path: Path) -> tuple[dict[str, Stored], Layout, list[tuple[str, str]]]:
    """Tensors, layout, and the identifier and name of each class. Raises UserError for a file that was changed."""
    try:
        tensors, facts = tensors_in(content, path)
    except UnreadableTensors as error:
        raise UserError(f"{error}. Get the file again.") from None
    stored = {name: Stored(array.shape, array.dtype.name, array.copy) for name, array in tensors.items()}
    settings = _settings(facts, path)
    layout = Layout(OWN, [int(settings["depth"])], own_table, lambda _: settings)
    return stored, layout, _classes(facts, path)


def own_table(depth: int) -> Table:
    """Every variable under its own name."""
    return {name: Theirs(name) for name in variable_shapes(depth, 1)}


def _settings(facts: Mapping[str, Any], path: Path) -> Settings:
    """The settings of [model] in a header. Of an earlier version, that is only the depth."""
    if "settings" not in facts and "network" not in facts:
        raise UserError(
            f"{path} does not say which network it is for: it looks like a checkpoint of training. Give the "
            "weights.safetensors of a finished run, in its folder batchnorm."
        )
    said = facts["settings"] if "settings" in facts else facts["network"]
    try:
        settings = dict(said) if "settings" in facts else {"depth": int(re.sub("^resnet", "", said))}
        Model.model_validate(settings)
        if not has_bottlenecks(settings["depth"]):
            settings.pop("stride_in", None)
        return settings
    except (ValueError, TypeError, KeyError):
        raise UserError(
            f"{path} is for a network that this version does not have: {str(said)[:200]}. Give other weights."
        ) from None


def _classes(facts: Mapping[str, Any], path: Path) -> list[tuple[str, str]]:
    try:
        return [(str(identifier), str(name)) for identifier, name in facts.get("classes", [])]
    except (ValueError, TypeError):
        raise UserError(
            f"{path}: the classes in its header are not pairs of identifier and name. Get the file again."
        ) from None

"""A network's weights and statistics as a safetensors file of this project: see `resnet.weights.tensor_files`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from resnet.errors import UserError
from resnet.model.network import ResNet
from resnet.weights.tensor_files import read_tensors, tensors_digest, write_tensors


def values(variables: Mapping[str, tf.Variable]) -> dict[str, np.ndarray]:
    return {name: np.asarray(variable.numpy()) for name, variable in variables.items()}  # a scalar's is no array


def digest_of(variables: Mapping[str, tf.Variable]) -> str:
    """SHA-256 of the variables' names and numbers, in hexadecimal."""
    return tensors_digest(values(variables), {})


def assign(variables: Mapping[str, tf.Variable], tensors: Mapping[str, np.ndarray], origin: Path) -> None:
    """Set each variable to the tensor of its name. Raises UserError where names or shapes differ."""
    if odd := sorted(set(variables) ^ set(tensors)):
        raise UserError(f"{origin} is for another network: only one of the two has {odd[0]} ({len(odd)} such names)")
    for name, variable in variables.items():
        if tuple(variable.shape) != tensors[name].shape:
            raise UserError(f"{origin} is for another network: {name} is {tensors[name].shape}, not {variable.shape}")
    for name, variable in variables.items():
        variable.assign(tensors[name])


def write_weights(
    path: Path, network: ResNet, classes: Sequence[tuple[str, str]] = (), more: Mapping[str, Any] | None = None
) -> Path:
    """Write a network's weights and statistics; returns the path.

    The facts are what a reader needs besides: the network's settings, and the identifier and name of each class; and
    `more`.
    """
    facts: dict[str, Any] = {**(more or {}), "network": f"resnet{network.depth}", "settings": network.settings}
    if classes:
        facts["classes"] = [list(names) for names in classes]
    write_tensors(path, values(network.named_variables()), facts)
    return path


def load_weights(path: Path, network: ResNet) -> None:
    """Set a network's weights and statistics to those in a file. Raises UserError where they do not fit."""
    assign(network.named_variables(), read_tensors(path)[0], path)

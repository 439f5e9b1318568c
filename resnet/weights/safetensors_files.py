"""Weights and statistics as a safetensors file: names, shapes and float32 numbers, no code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from resnet.errors import UserError
from resnet.files import atomic
from resnet.model.network import ResNet


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], facts: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, completely or not at all; `facts` go into its header."""
    with atomic(path) as file:
        file.write(save(dict(sorted(tensors.items())), dict(facts or {})))


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors and facts of a safetensors file. Raises UserError for a file that is missing or corrupt."""
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is not a complete safetensors file: {error}") from None


def read_facts(path: Path) -> dict[str, str]:
    """The facts of a safetensors file, from its header alone; none for a file that cannot be read."""
    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):
        return {}


def values(variables: Mapping[str, tf.Variable]) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in variables.items()}


def assign(variables: Mapping[str, tf.Variable], tensors: Mapping[str, np.ndarray], origin: Path) -> None:
    """Set each variable to the tensor of its name. Raises UserError where names or shapes differ."""
    if odd := sorted(set(variables) ^ set(tensors)):
        raise UserError(f"{origin} is for another network: only one of the two has {odd[0]} ({len(odd)} such names)")
    for name, variable in variables.items():
        if tuple(variable.shape) != tensors[name].shape:
            raise UserError(f"{origin} is for another network: {name} is {tensors[name].shape}, not {variable.shape}")
    for name, variable in variables.items():
        variable.assign(tensors[name])


def write_weights(path: Path, network: ResNet) -> Path:
    """Write a network's weights and statistics; returns the path."""
    write_tensors(path, values(network.named_variables()), {"network": f"resnet{network.depth}"})
    return path


def load_weights(path: Path, network: ResNet) -> None:
    """Set a network's weights and statistics to those in a file. Raises UserError where they do not fit."""
    assign(network.named_variables(), read_tensors(path)[0], path)

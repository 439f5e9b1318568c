"""Weights and statistics as a safetensors file: names, shapes and float32 numbers, no code.

Its header holds the facts about them (see `resnet.weights.safetensors_header`), so equal content makes equal files.
Among the facts is a SHA-256 of everything else, which is checked when the file is read.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from safetensors import SafetensorError
from safetensors.numpy import load, save

from resnet.errors import UserError
from resnet.files import atomic, tried_again
from resnet.model.network import ResNet
from resnet.weights.safetensors_header import DIGEST, FACTS, facts_and_digest, header_of


class UnreadableTensors(UserError):
    """A file that is missing, incomplete, or not as it was written."""


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], facts: Mapping[str, Any] | None = None) -> None:
    """Write a safetensors file, completely or not at all; `facts`, any JSON, go into its header."""
    ordered, facts = dict(sorted(tensors.items())), dict(facts or {})
    text = json.dumps(facts | {DIGEST: _digest(ordered, facts)}, sort_keys=True)
    content = save(ordered, {FACTS: text})

    def write() -> None:
        with atomic(path) as file:
            file.write(content)

    tried_again(write, path)


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors and facts of a safetensors file. Raises UnreadableTensors, or UserError while its disk is away."""
    try:
        content = tried_again(path.read_bytes, path)  # not by mapping it: a bad sector would kill the process
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EIO):
            raise UnreadableTensors(f"{path} is not a complete safetensors file: {error.strerror}") from None
        raise UserError(f"{path} cannot be read: {error.strerror}. The same command tries it again.") from None
    return tensors_in(content, path)


def tensors_in(content: bytes, path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors and facts in the content of a safetensors file of this project. Raises UnreadableTensors."""
    try:
        tensors = load(content)
        header = json.loads(header_of(content))
        facts, digest = facts_and_digest(header.get("__metadata__", {}))
        if digest is not None and digest != _digest(tensors, facts):
            raise ValueError("its SHA-256 does not match")
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableTensors(f"{path} is not a complete safetensors file: {error}") from None
    return tensors, facts


def _digest(tensors: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> str:
    """SHA-256 of names, types, shapes, numbers and facts, in hexadecimal."""
    described = [(name, tensors[name].dtype.str, tensors[name].shape) for name in sorted(tensors)]
    digest = hashlib.sha256(json.dumps([described, facts], sort_keys=True).encode())
    for name, *_ in described:
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()


def values(variables: Mapping[str, tf.Variable]) -> dict[str, np.ndarray]:
    return {name: np.asarray(variable.numpy()) for name, variable in variables.items()}  # a scalar's is no array


def digest_of(variables: Mapping[str, tf.Variable]) -> str:
    """SHA-256 of the variables' names and numbers, in hexadecimal."""
    return _digest(values(variables), {})


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

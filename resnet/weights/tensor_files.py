"""Tensors as a safetensors file, read and written without TensorFlow: names, shapes and numbers, no code.

Its header holds the facts about them (see `resnet.weights.safetensors_header`), so equal content makes equal files.
Among the facts is a SHA-256 of everything else, which is checked when the file is read.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from resnet.errors import UserError
from resnet.files import atomic, kind_of, tried_again
from resnet.weights.safetensors_header import DIGEST, FACTS, facts_and_digest, header_of


class UnreadableTensors(UserError):
    """A file that is missing, incomplete, or not as it was written."""


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], facts: Mapping[str, Any] | None = None) -> None:
    """Write a safetensors file, completely or not at all; `facts`, any JSON, go into its header."""
    ordered, facts = dict(sorted(tensors.items())), dict(facts or {})
    text = json.dumps(facts | {DIGEST: tensors_digest(ordered, facts)}, sort_keys=True)
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
        raise kind_of(error)(f"{path} cannot be read: {error.strerror}. The same command tries it again.") from None
    return tensors_in(content, path)


def tensors_in(content: bytes, path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors and facts in the content of a safetensors file of this project. Raises UnreadableTensors."""
    try:
        tensors = load(content)
        header = json.loads(header_of(content))
        facts, digest = facts_and_digest(header.get("__metadata__", {}))
        if digest is not None and digest != tensors_digest(tensors, facts):
            raise ValueError("its SHA-256 does not match")
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableTensors(f"{path} is not a complete safetensors file: {error}") from None
    return tensors, facts


def tensors_digest(tensors: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> str:
    """SHA-256 of names, types, shapes, numbers and facts, in hexadecimal."""
    described = [(name, tensors[name].dtype.str, tensors[name].shape) for name in sorted(tensors)]
    digest = hashlib.sha256(json.dumps([described, facts], sort_keys=True).encode())
    for name, *_ in described:
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()

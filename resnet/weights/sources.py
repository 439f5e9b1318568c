"""A stand-in, to be replaced by the module of this name that reads every layout."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from resnet.errors import UserError
from resnet.settings import Model
from resnet.weights.safetensors_files import read_tensors


class Source(NamedTuple):
    path: Path
    sha256: str
    layout: str
    tensors: dict[str, np.ndarray]
    settings: dict[str, int | float | str]
    outputs: int
    classes: list[tuple[str, str]]


def read_source(path: Path) -> Source:
    tensors, facts = read_tensors(path)
    classes = [(identifier, name) for identifier, name in facts.get("classes", [])]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    outputs = len(tensors["classifier/bias"])
    return Source(path, digest, "this project", tensors, facts["settings"], outputs, classes)


def require_settings(source: Source, model: Model) -> None:
    different = {name: value for name, value in source.settings.items() if getattr(model, name) != value}
    if different:
        said = ", ".join(f"model.{name} is {getattr(model, name)}, not {value}" for name, value in different.items())
        overrides = ", ".join(f'"model.{name}={value}"' for name, value in different.items())
        raise UserError(f"{source.path} is for another network: {said}. Give --override '[{overrides}]'")

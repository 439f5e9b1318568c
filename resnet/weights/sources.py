"""Weights from elsewhere: a file of torchvision, timm, Keras or this project, as the variables of our ResNet.

What a file is, is recognised by its content. Nothing in a file is run, and nothing is returned before all of it is
checked.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import stat
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from resnet.errors import UserError
from resnet.files import tried_again
from resnet.settings import Model
from resnet.weights.fitting import WANTED, fitted, nearest
from resnet.weights.keras_files import CONFIG, WEIGHTS, read_archive, read_hdf5
from resnet.weights.keras_names import KERAS, KERAS_2016
from resnet.weights.layouts import Layout, Settings, Stored
from resnet.weights.own_files import OWN, is_own, read_own
from resnet.weights.safetensors_header import is_safetensors
from resnet.weights.torch_files import read_pickle, read_safetensors
from resnet.weights.torch_names import TORCH, plain_names

logger = logging.getLogger(__name__)

HDF5, ZIP, PICKLE = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x80"  # how files of these formats begin
LARGEST = 4 << 30  # bytes; ResNet-152 with an optimizer's state has 0.7 GB


class OtherNetwork(UserError):
    """Weights are for another network than the recipe's."""


class Source(NamedTuple):
    """The weights in a file, and what is known about the network that they are for."""

    path: Path
    sha256: str  # of the file
    layout: str  # for people: "torchvision or timm", "Keras" or "this project"
    tensors: dict[str, np.ndarray]  # float32: the values of all variables of ResNet(depth, outputs), by name
    settings: Settings  # those of [model] that the file or its layout knows
    outputs: int  # of the classifier
    classes: list[tuple[str, str]]  # identifier and name of each, where the file has them; otherwise empty


def read_source(path: Path) -> Source:
    """Read a file of weights. Raises UserError if it is not a complete one of a ResNet that this project has."""
    content = _content(path)
    if is_own(content):
        stored, layout, classes = read_own(content, path)
        layouts = [layout]
    else:
        stored, layouts = _foreign(content, path)
        classes = []
    layout, depth = nearest(stored, layouts, path)
    tensors = fitted(stored, layout, depth, path)
    outputs = len(tensors["classifier/bias"])
    if classes and len(classes) != outputs:
        raise UserError(f"{path}: its header names {len(classes)} classes, but its classifier has {outputs}. {WANTED}")
    digest = hashlib.sha256(content).hexdigest()
    return Source(path, digest, layout.name, tensors, layout.settings(depth), outputs, classes)


def require_settings(source: Source, model: Model) -> None:
    """Raise OtherNetwork unless a recipe builds the network that the weights are for.

    Files of this project say what they are for. Of others only the depth is certain: the rest is the convention of
    their layout, and a recipe that explicitly sets something else is obeyed, with a warning.
    """
    differing = {name: value for name, value in source.settings.items() if getattr(model, name) != value}
    explicit = set() if source.layout == OWN else differing.keys() & model.model_fields_set - {"depth"}
    if wrong := {name: value for name, value in differing.items() if name not in explicit}:
        shown = "; ".join(
            f"model.{name} must be {value}, but is {getattr(model, name)}" for name, value in wrong.items()
        )
        overrides = json.dumps([f"model.{name}={value}" for name, value in wrong.items()])
        raise OtherNetwork(
            f"{source.path} (weights of {source.layout}) is for another network than the recipe's: {shown}. "
            f"Set it in the recipe, or add --override '{overrides}'"
        )
    for name in sorted(explicit):
        logger.warning(
            "%s: weights of %s are usually for model.%s=%s; the recipe's %s is used",
            source.path,
            source.layout,
            name,
            source.settings[name],
            getattr(model, name),
        )


def _content(path: Path) -> bytes:
    """All bytes of a file."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UserError(f"{path} is a folder. Give a file of weights in it.")
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path} is not a regular file. Give a file of weights.")
        if status.st_size > LARGEST:
            raise UserError(f"{path} has {status.st_size / 1e9:.0f} GB, far more than a ResNet needs. {WANTED}")
        return tried_again(path.read_bytes, path)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = getattr(error, "strerror", error)
        raise UserError(f"{path} cannot be read: {reason}. Give the path of a file of weights.") from None


def _foreign(content: bytes, path: Path) -> tuple[dict[str, Stored], list[Layout]]:
    """The tensors of a file that is not ours, and the layouts that they can have."""
    if content.startswith(HDF5):
        return read_hdf5(content, path), [KERAS, KERAS_2016]
    if content.startswith(ZIP):
        try:
            archive = zipfile.ZipFile(io.BytesIO(content))
        except (zipfile.BadZipFile, ValueError, OSError):
            raise UserError(f"{path} is cut short or corrupt: it is not a complete zip. Get the file again.") from None
        if {CONFIG, WEIGHTS} <= set(archive.namelist()):
            return read_archive(archive, path), [KERAS, KERAS_2016]
        return plain_names(read_pickle(content, path)), [TORCH]
    if is_safetensors(content):  # before pickles: the length of its header can begin with any byte
        return plain_names(read_safetensors(content, path)), [TORCH]
    if content.startswith(PICKLE):
        return plain_names(read_pickle(content, path)), [TORCH]
    begins = f"it begins with {content[:24]!r}" if content else "it is empty"
    raise UserError(f"{path} is not a file of weights: {begins}. Give a .safetensors, .pth, .bin, .h5 or .keras file.")

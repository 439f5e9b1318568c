"""Weights in Keras's files: HDF5 of Keras 1 to 3, and .keras archives.

Keras itself is not used: it can run code that a file names. Only plain data sets that are in the file are read: no
link, soft or external, is followed.
"""

from __future__ import annotations

import io
import json
import lzma
import re
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from resnet.errors import UserError
from resnet.weights.layouts import Stored

WEIGHTS, CONFIG = "model.weights.h5", "config.json"  # members of a .keras archive
LARGEST = {WEIGHTS: 2 << 30, CONFIG: 16 << 20}  # bytes; ResNet-152 with an optimizer's state needs 0.7 GB and 0.6 MB

WHOLE_MODEL = "model_weights/"  # the group beside which a file has an optimizer's state
KERAS_1 = {"W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance"}

# Keras 3 numbers the layers of each class, and the variables of each layer.
OF_KERAS_3 = re.compile(r"(layers/(\w+?)(_\d+)?/vars)/(\d+)")
VARIABLES = {
    "conv2d": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "dense": ("kernel", "bias"),
}
CLASSES = {"Conv2D": "conv2d", "BatchNormalization": "batch_normalization", "Dense": "dense"}


def read_archive(archive: zipfile.ZipFile, path: Path) -> dict[str, Stored]:
    """The tensors of a .keras archive as LAYER/VARIABLE. Nothing is unpacked to disk."""
    try:
        names = _layers_in_order(json.loads(_member(archive, CONFIG, path)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path}: its {CONFIG} does not list the layers of a model. Get the file again.") from None
    return read_hdf5(_member(archive, WEIGHTS, path), path, names)


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    try:
        with archive.open(name) as file:
            content = file.read(LARGEST[name] + 1)
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError):
        raise UserError(f"{path} is cut short or corrupt: {name} in it cannot be read. Get the file again.") from None
    if len(content) > LARGEST[name]:
        raise UserError(f"{path}: {name} in it is too large for a ResNet. Give the file of a ResNet50, 101 or 152.")
    return content


def _layers_in_order(config: Any) -> dict[str, str]:
    """The names of a model's layers by the groups that Keras 3 gives them: conv2d, conv2d_1 and so on."""
    names: dict[str, str] = {}
    count = dict.fromkeys(CLASSES, 0)
    for layer in config["config"]["layers"]:
        kind = layer["class_name"]
        if kind in CLASSES:
            number = f"_{count[kind]}" if count[kind] else ""
            names[f"layers/{CLASSES[kind]}{number}/vars"] = layer["config"]["name"]
            count[kind] += 1
    return names


def read_hdf5(content: bytes, path: Path, names: dict[str, str] | None = None) -> dict[str, Stored]:
    """The tensors of an HDF5 file as LAYER/VARIABLE. `names` are of Keras 3's groups, for a file without them."""
    tensors, in_file = _contents(content, path)
    names = (names or {}) | in_file
    if any(name.startswith(WHOLE_MODEL) for name in tensors):
        tensors = {
            name.removeprefix(WHOLE_MODEL): tensor for name, tensor in tensors.items() if name.startswith(WHOLE_MODEL)
        }
    stored: dict[str, Stored] = {}
    for name, tensor in tensors.items():
        plain = _keras_3_name(name, names, path) or _name(name)
        if plain in stored:
            raise UserError(f"{path} has two tensors for {plain}. Give the file of a single ResNet50, 101 or 152.")
        stored[plain] = tensor
    return stored


def _contents(content: bytes, path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """The data sets of an HDF5 file, and the names of layers, both by path in the file. Links are not followed."""
    tensors: dict[str, Stored] = {}
    names: dict[str, str] = {}

    def add(name: str | bytes, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(name, bytes):  # as h5py gives names that are not UTF-8
            name = name.decode(errors="backslashreplace")
        if isinstance(item, h5py.Dataset):
            tensors[name] = Stored(item.shape or (), item.dtype.name, partial(_read, item, path))
        # attrs.get would make h5py word an error of HDF5 for each group without a name. Its text may be gone by then:
        # seen once, as a UnicodeDecodeError.
        elif name.endswith("/vars") and "name" in item.attrs and isinstance(layer := item.attrs["name"], str):
            names[name] = layer

    try:
        h5py.File(io.BytesIO(content), "r").visititems(add)
    except Exception as error:  # a damaged file makes HDF5 raise almost anything
        raise UserError(f"{path} is cut short or corrupt ({error}). Get the file again.") from None
    return tensors, names


def _keras_3_name(name: str, names: dict[str, str], path: Path) -> str | None:
    """LAYER/VARIABLE for a data set of Keras 3; None for one of another version."""
    if not (found := OF_KERAS_3.fullmatch(name)):
        return None
    group, kind, _, number = found.groups()
    if group not in names:
        raise UserError(
            f"{path} does not name its layers, as early versions of Keras 3 did not. Save the model again, from Keras: "
            'model.save("resnet.keras")'
        )
    variables = dict(enumerate(VARIABLES.get(kind, ())))
    return f"{names[group]}/{variables.get(int(number), number)}"


def _name(name: str) -> str:
    """LAYER/VARIABLE for a data set of Keras 1 or 2, or of an .h5 of Keras 3.

    Examples: conv1/conv1_W:0 (Keras 1), conv1_conv/conv1_conv/kernel:0 (2), conv1_conv/conv1_conv/kernel (3).
    """
    layer, _, rest = name.partition("/")
    variable = rest.split("/")[-1].removesuffix(":0").removeprefix(f"{layer}_")
    return f"{layer}/{KERAS_1.get(variable, variable)}"


def _read(data_set: h5py.Dataset, path: Path) -> np.ndarray:
    try:
        oversized = data_set.chunks and any(np.greater(data_set.chunks, data_set.shape))
        if not (data_set.external or data_set.is_virtual or oversized):
            return data_set[()]
    except Exception as error:  # as above
        raise UserError(f"{path} is cut short or corrupt ({error}). Get the file again.") from None
    raise UserError(f"{path}: {data_set.name} is not plain numbers in this file. Save the model again with Keras.")

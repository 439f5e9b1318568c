"""Whether the tensors of a file are those of a ResNet, and their values as our variables have them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import tensorflow as tf

from resnet.errors import UserError
from resnet.model.network import ResNet
from resnet.weights.layouts import Layout, Stored, Table

logger = logging.getLogger(__name__)

MOST_CLASSES = 100_000  # a file that claims more would fill the memory
FLOATS = {"float16", "bfloat16", "float32", "float64"}
WANTED = "Give the weights of a plain ResNet-18, 34, 50, 101 or 152 (v1), or of this project."


def nearest(stored: Mapping[str, Stored], layouts: Sequence[Layout], path: Path) -> tuple[Layout, int]:
    """The layout and the depth whose names are most like those of a file. Raises UserError if none is the same."""

    def differing(choice: tuple[Layout, int]) -> int:
        layout, depth = choice
        return len(stored.keys() ^ _expected_names(layout.table(depth)))

    layout, depth = min(((layout, depth) for layout in layouts for depth in layout.depths), key=differing)
    if not stored.keys() & _expected_names(layout.table(depth)):
        has = f"it has {_listed(sorted(stored))}" if stored else "it has no tensors"
        raise UserError(f"{path} has none of the tensors of a ResNet as {layout.name} stores it: {has}. {WANTED}")
    return layout, depth


def fitted(stored: Mapping[str, Stored], layout: Layout, depth: int, path: Path) -> dict[str, np.ndarray]:
    """Our variables' values, float32, for a ResNet of this depth. Raises UserError where anything does not fit.

    All names, shapes and types are checked before the first number is read.
    """
    table = layout.table(depth)
    described = f"ResNet-{depth} as {layout.name} stores it"
    _check_names(stored, table, described, path)
    shapes = variable_shapes(depth, _outputs(stored, table, path))
    _check_shapes(stored, table, shapes, described, path)
    numbers = {name: _float32(tensor) for name, tensor in stored.items()}
    if other := sorted({tensor.dtype for tensor in stored.values()} - {"float32"}):
        logger.info("%s: numbers of type %s become float32", path, " and ".join(other))
    if broken := [name for name, array in numbers.items() if not np.isfinite(array).all()]:
        raise UserError(f"{path}: NaN or infinite numbers in {_listed(broken)}. Get the file again, or an earlier one.")
    tensors = {ours: theirs.turned(numbers.__getitem__) for ours, theirs in table.items()}
    if negative := [table[ours].name for ours, a in tensors.items() if ours.endswith("/variance") and (a < 0).any()]:
        raise UserError(f"{path}: variances below zero in {_listed(negative)}. Get the file again.")
    return tensors


def _check_names(stored: Mapping[str, Stored], table: Table, described: str, path: Path) -> None:
    expected = _expected_names(table)
    missing = [name for name in expected if name not in stored]
    left_over = sorted(stored.keys() - expected)
    classifier = {table[name].name for name in ("classifier/kernel", "classifier/bias")}
    if set(missing) == classifier and not left_over:
        raise UserError(
            f"{path} has no classifier ({_listed(missing)}). Give the file of the whole network: of Keras's, the one "
            'without "notop" in its name.'
        )
    problems = [f"{_listed(names)} {what}" for what, names in (("missing", missing), ("left over", left_over)) if names]
    if problems:
        raise UserError(f"{path} is not a {described}: {'; '.join(problems)}. {WANTED}")


def _check_shapes(
    stored: Mapping[str, Stored], table: Table, shapes: Mapping[str, tuple[int, ...]], described: str, path: Path
) -> None:
    wrong = [
        f"{name} is {list(stored[name].shape)}, not {list(shape)}"
        for ours, theirs in table.items()
        for name, shape in theirs.expected(shapes[ours])
        if stored[name].shape != shape
    ]
    if wrong:
        raise UserError(f"{path} is not a {described}: {_listed(wrong)}. {WANTED}")
    if odd := [f"{name} is {tensor.dtype}" for name, tensor in stored.items() if tensor.dtype not in FLOATS]:
        raise UserError(f"{path} has numbers that are not floating point: {_listed(odd)}. {WANTED}")


def _outputs(stored: Mapping[str, Stored], table: Table, path: Path) -> int:
    """How many classes the classifier tells apart."""
    name = table["classifier/bias"].name
    shape = stored[name].shape
    if len(shape) != 1 or not 0 < shape[0] <= MOST_CLASSES:
        raise UserError(f"{path}: {name} is {list(shape)}, not [classes], 1 to {MOST_CLASSES:,}. {WANTED}")
    return shape[0]


def variable_shapes(depth: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the variables of ResNet(depth, outputs), by name."""
    return {
        name: (*shape[:-1], outputs) if name.startswith("classifier/") else shape
        for name, shape in _shapes_for_one_class(depth).items()
    }


@lru_cache
def _shapes_for_one_class(depth: int) -> dict[str, tuple[int, ...]]:
    with tf.Graph().as_default():  # which leaves the devices alone: they are set up after weights are read
        network = ResNet(depth, 1)
        return {name: tuple(variable.shape) for name, variable in network.named_variables().items()}


def _expected_names(table: Table) -> dict[str, None]:
    """The names that a file must have, in the order of the table."""
    return {name: None for theirs in table.values() for name in (theirs.name, theirs.minus) if name}


def _float32(tensor: Stored) -> np.ndarray:
    with np.errstate(over="ignore"):  # what becomes infinite is reported
        return tensor.read().astype(np.float32)


def _listed(items: Iterable[str]) -> str:
    """The first three, and how many more. A file can call its tensors anything, so names are cut and made printable."""
    items = [item[:100] if item.isprintable() else ascii(item[:100]) for item in items]
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return ", ".join(items[:3]) + more

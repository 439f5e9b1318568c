"""How a file stores a ResNet: what it calls each tensor, and in which order of axes.

A layout has a table for each depth, from the name of each variable of ours to what a file has for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from resnet.model.network import BOTTLENECK, IMAGENET_DEPTHS

Settings = dict[str, int | float | str]


class Stored(NamedTuple):
    """A tensor in a file, which is read only once its type and shape are known to be right."""

    shape: tuple[int, ...]
    dtype: str  # as NumPy calls it, or "bfloat16"
    read: Callable[[], np.ndarray]


class Theirs(NamedTuple):
    """What a file has for one of our variables: its tensor `name`, transposed to `axes`.

    Then its third axis is reversed (`bgr`: a kernel for blue, green and red), or the tensor `minus` is subtracted.
    """

    name: str
    axes: tuple[int, ...] = ()
    bgr: bool = False
    minus: str = ""

    def expected(self, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The names and shapes that a file must have, where our variable has this shape."""
        theirs = list(shape)
        for ours, axis in enumerate(self.axes):
            theirs[axis] = shape[ours]
        yield self.name, tuple(theirs)
        if self.minus:
            yield self.minus, shape

    def turned(self, read: Callable[[str], np.ndarray]) -> np.ndarray:
        """Our variable's float32 value. `read` gives the file's float32 tensor of a name."""
        array = read(self.name)
        if self.axes:
            array = array.transpose(self.axes)
        if self.bgr:
            array = array[:, :, ::-1]
        if self.minus:
            array = array - read(self.minus)
        return np.ascontiguousarray(array)


Table = dict[str, Theirs]


class Layout(NamedTuple):
    """How one kind of file stores networks of these depths, and the settings of [model] that its weights are for."""

    name: str  # for people: "as NAME stores it"
    depths: Sequence[int]
    table: Callable[[int], Table]
    settings: Callable[[int], Settings]


class Place(NamedTuple):
    """Where a convolution and its batch normalisation are: stage 0 is the stem, number 0 a block's projection."""

    stage: int
    block: int
    number: int

    @property
    def conv(self) -> str:
        """What we call the convolution."""
        return self._layer("conv", "projection")

    @property
    def norm(self) -> str:
        """What we call the batch normalisation."""
        return self._layer("norm", "projection_norm")

    def _layer(self, kind: str, of_projection: str) -> str:
        if not self.stage:
            return f"stem/{kind}"
        return f"stage{self.stage}/block{self.block}/" + (f"{kind}{self.number}" if self.number else of_projection)


def places(depth: int) -> Iterator[Place]:
    """All places of ResNet-18, 34, 50, 101 or 152."""
    _, blocks = IMAGENET_DEPTHS[depth]
    yield Place(0, 0, 1)
    for stage, count in enumerate(blocks, start=1):
        for block in range(1, count + 1):
            projected = block == 1 and (stage > 1 or has_bottlenecks(depth))
            for number in range(0 if projected else 1, 4 if has_bottlenecks(depth) else 3):
                yield Place(stage, block, number)


def has_bottlenecks(depth: int) -> bool:
    """Whether `model.stride_in` makes a difference."""
    return depth in IMAGENET_DEPTHS and IMAGENET_DEPTHS[depth][0] == BOTTLENECK

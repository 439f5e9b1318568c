"""From a stored image to the network's input: open it, choose a box, resize, flip, colour.

`show` is the one way to look at an image: training, evaluation and the report's pictures all go through it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

import cv2
import numpy as np

from resnet.images.regions import Box, StoredImage, open_image
from resnet.loader.color import color_map
from resnet.loader.pillow_resize import resize_and_crop, resize_box
from resnet.loader.policies import Change, erase, erased_box, rand_augment, trivial_augment
from resnet.loader.random_streams import AUGMENTATION, ERASING, POLICY
from resnet.loader.views import LONGEST, area_box, center_box, corner_box, pad_shift, scale_box, scaled_size, whole_box

if TYPE_CHECKING:  # pydantic stays out of the worker processes
    from resnet import settings

FLIP = 3  # which number of a draw decides the flip


Draws = Sequence[Sequence[float]]  # an image's row of `random_streams.draws`, for each stream of a transform
Size = tuple[int, int]  # height and width, pixels


class Transform(Protocol):
    """How an image is shown: a dataclass in TRANSFORMS, which travels to the workers as its name and fields."""

    @property
    def streams(self) -> tuple[int, ...]:
        """The random streams that it draws from."""

    def __call__(self, image: StoredImage, draws: Draws, out: np.ndarray) -> Size | None:
        """Write the image to `out`, uint8 [size, size, 3].

        One that does not fill it is packed: rows of pixels from the start of `out` on. Its size is returned.
        """


def show(encoded: bytes | memoryview, transform: Transform, draws: Draws, out: np.ndarray) -> Size | None:
    """Write what the transform shows of a stored image file to `out`, uint8 [size, size, 3]. Raises Unreadable.

    Returns the size of what does not fill `out`: see `packed`.
    """
    return transform(open_image(encoded), draws, out)


def packed(out: np.ndarray, size: Size) -> np.ndarray:
    """The image of this size that is packed into `out`: uint8 [height, width, 3]."""
    height, width = size
    return out.reshape(-1)[: height * width * 3].reshape(height, width, 3)


@dataclass(frozen=True)
class CenterCrop:
    """Evaluation: scale the shorter side, take the centre. Nothing is random."""

    shorter_side: int
    interpolation: str = "opencv-linear"
    streams: ClassVar[tuple[int, ...]] = ()

    @classmethod
    def of(cls, evaluation: settings.Evaluation) -> CenterCrop:
        return cls(evaluation.shorter_side, evaluation.interpolation)

    def __call__(self, image: StoredImage, draws: Draws, out: np.ndarray) -> None:
        if self.interpolation == "opencv-linear":
            resize(image, center_box(image.width, image.height, out.shape[0], self.shorter_side), out)
        else:
            resize_and_crop(image, self.shorter_side, self.interpolation, out)


class Framing(NamedTuple):
    """What training shows of an image, before colour."""

    box: Box  # of the stored image, scaled to the input's size
    shift: tuple[int, int]  # then moved right and down by so many pixels, zeros in its wake (crop = "pad")
    is_flipped: bool  # and mirrored at last

    def frame(self, size: int) -> tuple[float, float, float, float]:
        """The rectangle that the input of `size` pixels shows: x, y, width and height, in pixels of the stored image.
        With a shift it reaches beyond the box, and beyond the image."""
        x, y, width, height = self.box
        return x - self.shift[0] * width / size, y - self.shift[1] * height / size, width, height


@dataclass(frozen=True)
class CornerCrop:
    """Evaluation: scale the shorter side, take a corner."""

    shorter_side: int
    interpolation: str
    right: bool
    bottom: bool
    streams: ClassVar[tuple[int, ...]] = ()

    def __call__(self, image: StoredImage, draws: Draws, out: np.ndarray) -> None:
        if self.interpolation == "opencv-linear":
            size = out.shape[0]
            resize(image, corner_box(image.width, image.height, size, self.shorter_side, self.right, self.bottom), out)
        else:
            resize_and_crop(image, self.shorter_side, self.interpolation, out, x=self.right, y=self.bottom)


@dataclass(frozen=True)
class WholeScaled:
    """Evaluation: scale the shorter side, take all of it. `fits` says how large `out` must be."""

    shorter_side: int
    interpolation: str
    streams: ClassVar[tuple[int, ...]] = ()

    def __call__(self, image: StoredImage, draws: Draws, out: np.ndarray) -> Size:
        box = whole_box(image.width, image.height)
        width, height = scaled_size(box.width, box.height, self.shorter_side)
        pixels = packed(out, (height, width))
        if self.interpolation == "opencv-linear":
            resize(image, box, pixels)
        else:
            pixels[:] = resize_box(image, box, self.shorter_side, self.interpolation)
        return height, width

    @property
    def fits(self) -> int:
        """The side of a square with as many pixels as the longest image."""
        return math.ceil(self.shorter_side * math.sqrt(LONGEST))


@dataclass(frozen=True)
class Augment:
    """Training: random crop, flip, policy, colour and erasing. The fields are the recipe's [augmentation], but for its
    mixing, which is the step's.

    What an image of another size than `image_size` shows is the same, in fewer pixels.
    """

    image_size: int
    crop: str
    scale_min: int
    scale_max: int
    area_min: float
    aspect_max: float
    padding: int
    flip: bool
    color: bool
    half_decoding: bool
    policy: str
    operations: int
    magnitude: float
    magnitude_deviation: float
    erasing: float

    @classmethod
    def of(cls, augmentation: settings.Augmentation, image_size: int) -> Augment:
        return cls(image_size, **augmentation.model_dump(exclude={"mixup", "cutmix"}))

    @property
    def streams(self) -> tuple[int, ...]:
        return AUGMENTATION, *([POLICY] if self.policy != "none" else []), *([ERASING] if self.erasing else [])

    def __call__(self, image: StoredImage, draws: Draws, out: np.ndarray) -> None:
        by_stream = dict(zip(self.streams, draws, strict=True))
        draw = by_stream[AUGMENTATION]
        plain = np.empty_like(out) if self.color else out
        box, shift, is_flipped = self.framing(image.width, image.height, out.shape[0], draw)
        if self.crop == "pad":
            pad_and_crop(image, box, shift, plain)
        else:
            resize(image, box, plain, self.half_decoding)
        if is_flipped:
            cv2.flip(plain, 1, dst=plain)
        if self.policy != "none":
            changed = plain
            for change in self._changes(by_stream[POLICY]):
                changed = change(changed)
            plain[:] = changed
        if self.color:
            cv2.transform(plain, color_map(cv2.mean(plain)[:3], draw), dst=out)
        if self.erasing:
            erase(out, by_stream[ERASING], self.erasing)

    def _changes(self, draw: Sequence[float]) -> list[Change]:
        if self.policy == "trivialaugment":
            return trivial_augment(draw)
        return rand_augment(draw, self.operations, self.magnitude, self.magnitude_deviation)

    def in_words(self, draws: Draws, size: int) -> list[str]:
        """What the policy and erasing change of an image in an input of `size` pixels, one by one."""
        by_stream = dict(zip(self.streams, draws, strict=True))
        changes = self._changes(by_stream[POLICY]) if self.policy != "none" else []
        is_erased = self.erasing and erased_box(size, size, by_stream[ERASING], self.erasing)
        return [change.operation.__name__ for change in changes] + (["erased"] if is_erased else [])

    def framing(self, width: int, height: int, size: int, draw: Sequence[float]) -> Framing:
        """What is shown of an image of this width and height in an input of `size` pixels."""
        whole, shift = self.image_size, (0, 0)
        if self.crop == "scale":
            box = scale_box(width, height, whole, draw, self.scale_min, self.scale_max)
        elif self.crop == "area":
            box = area_box(width, height, draw, self.area_min, self.aspect_max)
        else:
            box = center_box(width, height, whole, whole)
            dx, dy = pad_shift(draw, self.padding)
            shift = round(dx * size / whole), round(dy * size / whole)
        return Framing(box, shift, self.flip and draw[FLIP] < 0.5)


TRANSFORMS: dict[str, type[Transform]] = {
    kind.__name__: kind for kind in (CenterCrop, CornerCrop, WholeScaled, Augment)
}


def resize(image: StoredImage, box: Box, out: np.ndarray, half_decoding: bool = False) -> None:
    """Scale a box of an image to the size of `out`.

    Down to half size, linear interpolation looks at every pixel of the source, as in Caffe, whose input the published
    networks were trained on. Below that it would skip pixels, so the average over areas takes its place; or, with
    `half_decoding`, the source is decoded at half its size, if it is a JPEG.
    """
    (height, width), pixels = out.shape[:2], None
    if half_decoding and box.width > 2 * width and box.height > 2 * height:
        pixels = image.region_at_half(box)
    if pixels is None:
        pixels = image.region(box)
    interpolation = cv2.INTER_AREA if min(pixels.shape[:2]) > 2 * min(width, height) else cv2.INTER_LINEAR
    cv2.resize(pixels, (width, height), dst=out, interpolation=interpolation)


def pad_and_crop(image: StoredImage, box: Box, shift: tuple[int, int], out: np.ndarray) -> None:
    """A box of the image at the size of `out`, moved by `shift`, zeros around it (CIFAR-10's crop)."""
    size = out.shape[0]
    if (box.height, box.width) == (size, size):
        pixels = image.region(box)
    else:
        pixels = np.empty_like(out)
        resize(image, box, pixels)
    dx, dy = shift
    out[:] = 0
    out[max(dy, 0) : size + min(dy, 0), max(dx, 0) : size + min(dx, 0)] = pixels[
        max(-dy, 0) : size - max(dy, 0), max(-dx, 0) : size - max(dx, 0)
    ]

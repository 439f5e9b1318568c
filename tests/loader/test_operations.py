"""The operations of policies, against Pillow's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from resnet.loader import operations

SIZE, FILL = 64, (124, 116, 104)
RANDOM = np.random.default_rng(0)
SMOOTH = cv2.resize(RANDOM.integers(0, 256, (9, 9, 3), np.uint8), (SIZE, SIZE))
IMAGES = {
    "photograph": SMOOTH,
    "noise": RANDOM.integers(0, 256, (SIZE, SIZE, 3), np.uint8),
    "dull": SMOOTH // 3 + 40,
    "one colour": np.full((SIZE, SIZE, 3), (10, 200, 30), np.uint8),
    "two values": np.where(SMOOTH > 120, 200, 90).astype(np.uint8),
}


def enhanced(kind: str):
    return lambda image, factor: getattr(ImageEnhance, kind)(image).enhance(factor)


# Ours, Pillow's, the strengths to compare, and the greatest difference of a pixel's channel: 1 where we round once.
OF_COLOUR = {
    "brightness": (enhanced("Brightness"), (0.01, 0.4, 1.0, 1.9), 0),
    "contrast": (enhanced("Contrast"), (0.01, 0.4, 1.0, 1.9), 0),
    "color": (enhanced("Color"), (0.01, 0.4, 1.0, 1.9), 2),  # Pillow rounds the grey first, and 0.9 times that counts
    "sharpness": (enhanced("Sharpness"), (0.01, 0.4, 1.0, 1.9), 2),
    "posterize": (lambda image, bits: ImageOps.posterize(image, bits), (1, 2, 4, 8), 0),
    "solarize": (lambda image, threshold: ImageOps.solarize(image, threshold), (0, 127.5, 200, 255), 0),
    "invert": (lambda image, _: ImageOps.invert(image), (0,), 0),
    "autocontrast": (lambda image, _: ImageOps.autocontrast(image), (0,), 1),
    "equalize": (lambda image, _: ImageOps.equalize(image), (0,), 0),
}
OF_SPACE = {
    "rotate": lambda s: (s, None),
    "shear_x": lambda s: (None, (1, s, 0, 0, 1, 0)),
    "shear_y": lambda s: (None, (1, 0, 0, s, 1, 0)),
    "translate_x": lambda s: (None, (1, 0, s * SIZE, 0, 1, 0)),
    "translate_y": lambda s: (None, (1, 0, 0, 0, 1, s * SIZE)),
}


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("name", OF_COLOUR)
def test_operations_on_colour_are_those_of_pillow(name, image):
    theirs, strengths, most = OF_COLOUR[name]
    for strength in strengths:
        found = getattr(operations, name)(IMAGES[image], strength, FILL)
        expected = np.array(theirs(Image.fromarray(IMAGES[image]), strength))
        assert found.dtype == np.uint8
        assert np.abs(found.astype(int) - expected).max() <= most, strength


@pytest.mark.parametrize(
    ("name", "strength"),
    [("rotate", 25), ("rotate", -130), *((n, s) for n in list(OF_SPACE)[1:] for s in (0.3, -0.2, 0.99))],
)
def test_operations_in_space_are_those_of_pillow(name, strength):
    image = Image.fromarray(SMOOTH)
    degrees, matrix = OF_SPACE[name](strength)
    if matrix is None:
        expected = image.rotate(degrees, resample=Image.Resampling.BILINEAR, fillcolor=FILL)
    else:
        ways = {"resample": Image.Resampling.BILINEAR, "fillcolor": FILL}
        expected = image.transform(image.size, Image.Transform.AFFINE, matrix, **ways)
    found = getattr(operations, name)(SMOOTH, strength, FILL).astype(int)
    inside = interior(np.array(expected))  # at the border of what is bare, Pillow does not blend with the fill
    assert inside.any() or abs(strength) == 0.99
    assert np.abs(found - np.array(expected))[inside].max(initial=0) <= 4


def interior(image: np.ndarray) -> np.ndarray:
    """Pixels that are at least two from the border of the picture and of what is bare."""
    is_image = (image != np.array(FILL)).any(-1).astype(np.uint8)
    framed = np.pad(is_image[2:-2, 2:-2], 2)
    return cv2.erode(framed, np.ones((5, 5), np.uint8)).astype(bool)


def test_what_a_moved_image_leaves_bare_has_the_fill_colour():
    moved = operations.translate_x(SMOOTH, 0.25, FILL)
    assert (moved[:, 50:] == FILL).all()
    np.testing.assert_array_equal(moved[:, :48], SMOOTH[:, 16:])


def test_solarize_add_brightens_the_darker_half_and_posterize_of_no_bits_is_black():
    values = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, 2)
    found = operations.solarize_add(values, 110, FILL)[..., 0].ravel()
    assert found.tolist() == [*range(110, 238), *range(128, 256)]
    assert not operations.posterize(values, 0, FILL).any()


def test_no_operation_changes_its_input():
    for name in [*OF_COLOUR, *OF_SPACE, "solarize_add"]:
        before = SMOOTH.copy()
        getattr(operations, name)(SMOOTH, 1.5, FILL)
        np.testing.assert_array_equal(SMOOTH, before, err_msg=name)

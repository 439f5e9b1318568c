import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet.loader import augmentation as a
from resnet.records.regions import Box, WholeImage
from resnet.settings import Augmentation

PHOTO = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


def settings(**changes) -> Augmentation:
    return Augmentation(**{"flip": False, "color": False} | changes)


def augmented(pixels, draw, size=32, **changes) -> np.ndarray:
    out = np.empty((size, size, 3), np.uint8)
    a.augment(WholeImage(pixels), draw, settings(**changes), out)
    return out


@given(
    seed=st.integers(0, 2**63),
    epoch=st.integers(0, 1000),
    position=st.integers(0, 2**40),
    cut=st.integers(1, 9),
)
def test_draws_of_a_run_of_positions_do_not_depend_on_how_the_run_is_cut(seed, epoch, position, cut):
    whole = a.draws(seed, epoch, position, 10)
    parts = [a.draws(seed, epoch, position, cut), a.draws(seed, epoch, position + cut, 10 - cut)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_draws_are_uniform_and_differ_between_seeds_epochs_and_positions():
    draws = a.draws(1, 2, 3, 5000)
    assert draws.min() >= 0
    assert draws.max() < 1
    np.testing.assert_allclose(draws.mean(0), 0.5, atol=0.02)
    np.testing.assert_allclose(draws.var(0), 1 / 12, atol=0.005)
    others = [a.draws(0, 2, 3, 5000), a.draws(1, 3, 3, 5000), a.draws(1, 2, 5003, 5000)]
    assert all(abs(np.corrcoef(draws.ravel(), other.ravel())[0, 1]) < 0.01 for other in others)


@given(width=st.integers(1, 3000), height=st.integers(1, 3000), position=st.integers(0, 10**6))
def test_every_crop_lies_within_the_image(width, height, position):
    draw = a.draws(0, 0, position, 1)[0]
    for box in (
        a.scale_box(width, height, 224, draw, settings()),
        a.area_box(width, height, draw, settings()),
        a.center_box(width, height, 224, 256),
    ):
        assert box.width >= 1
        assert box.height >= 1
        assert 0 <= box.x <= width - box.width
        assert 0 <= box.y <= height - box.height


def test_the_scale_crop_sees_as_much_as_a_224_crop_of_the_scaled_image():
    sides = [a.scale_box(500, 375, 224, draw, settings()).width for draw in a.draws(0, 0, 0, 20_000)]
    shorter = 224 * 375 / np.array(sides)
    assert shorter.min() == pytest.approx(256, abs=1.5)
    assert shorter.max() == pytest.approx(480, abs=3)
    counts, _ = np.histogram(shorter, bins=8, range=(256, 480))
    np.testing.assert_allclose(counts / counts.sum(), 1 / 8, atol=0.015)  # uniform, as in the paper


def test_the_area_crop_keeps_to_its_area_and_aspect():
    boxes = [a.area_box(500, 375, draw, settings()) for draw in a.draws(0, 0, 0, 5000)]
    area = np.array([box.width * box.height / (500 * 375) for box in boxes])
    aspect = np.array([box.width / box.height for box in boxes])
    assert area.min() == pytest.approx(0.08, abs=0.01)
    assert area.max() > 0.95
    assert aspect.min() > 0.73
    assert aspect.max() < 1.36


def test_an_image_too_narrow_for_any_area_crop_gives_its_centre():
    assert a.area_box(2, 1000, a.draws(0, 0, 0, 1)[0], settings()) == Box(0, 498, 2, 3)


def test_evaluation_sees_the_centre():
    assert a.center_box(500, 375, 224, 256) == Box(86, 23, 328, 328)
    assert a.center_box(28, 28, 28, 28) == Box(0, 0, 28, 28)


def test_padding_moves_the_image_by_up_to_its_width_each_way():
    square = np.full((32, 32, 3), 200, np.uint8)
    seen = set()
    for draw in a.draws(0, 0, 0, 3000):
        out = augmented(square, draw, crop="pad", padding=2)
        rows, columns = np.flatnonzero(out[:, :, 0].any(1)), np.flatnonzero(out[:, :, 0].any(0))
        seen.add((int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])))
        assert set(np.unique(out)) <= {0, 200}
    assert len(seen) == 25


def test_padding_shows_the_very_pixels():
    image = PHOTO[:32, :32]
    draw = a.draws(0, 0, 0, 1)[0]
    draw[[a.X, a.Y]] = (0.99, 0.0)  # two to the right, two up
    out = augmented(image, draw, crop="pad", padding=2)
    np.testing.assert_array_equal(out[:30, 2:], image[2:, :30])


def test_half_of_the_images_are_mirrored():
    flips = 0
    for draw in a.draws(0, 0, 0, 400):
        plain, mirrored = augmented(PHOTO, draw), augmented(PHOTO, draw, flip=True)
        if not np.array_equal(plain, mirrored):
            np.testing.assert_array_equal(mirrored, plain[:, ::-1])
            flips += 1
    assert 160 < flips < 240


def test_shrinking_far_averages_and_does_not_skip_pixels():
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    out = np.empty((32, 32, 3), np.uint8)
    a.resize(WholeImage(noise), Box(0, 0, 320, 320), out)
    assert out.std() < 10  # the mean of 100 pixels each: 74 / sqrt(100); linear interpolation sees four, and gives 37


def stepwise(pixels, draw, position) -> np.ndarray:
    """The colour changes one after the other on float pixels, as the benchmark describes them."""
    x = pixels.astype(np.float64) / 255
    brightness = 2 * 32 / 255 * draw[a.BRIGHTNESS] - 32 / 255
    saturation, contrast = 0.5 + draw[a.SATURATION], 0.5 + draw[a.CONTRAST]
    angle = 0.2 * math.pi * (2 * draw[a.HUE] - 1)

    def hue_and_saturation(x):
        y, i, q = np.moveaxis(x @ a.TO_YIQ.T, -1, 0)
        turned = saturation * (i + 1j * q) * np.exp(1j * angle)
        return np.stack([y, turned.real, turned.imag], -1) @ np.linalg.inv(a.TO_YIQ).T

    def contrasted(x):
        mean = x.mean((0, 1))
        return (x - mean) * contrast + mean

    x = x + brightness
    for change in (hue_and_saturation, contrasted) if position % 2 == 0 else (contrasted, hue_and_saturation):
        x = change(x)
    return np.clip(x, 0, 1) * 255


@pytest.mark.parametrize("position", [0, 1])
def test_the_one_colour_matrix_does_what_the_steps_do_one_by_one(position):
    for draw in a.draws(5, 0, 0, 50):
        plain = augmented(PHOTO, draw)
        colored = augmented(PHOTO, draw, color=True)
        # One rounding at the end, of a product with the coefficients that OpenCV's fixed-point arithmetic has.
        np.testing.assert_allclose(colored, stepwise(plain, draw, position), atol=0.75)


def test_neutral_draws_leave_colours_as_they_are():
    neutral = np.full(a.DRAWS, 0.5)
    np.testing.assert_array_equal(augmented(PHOTO, neutral, color=True), augmented(PHOTO, neutral))


def test_settings_reach_the_workers_as_plain_values():
    draw = a.draws(0, 0, 0, 1)[0]
    plain = SimpleNamespace(**settings(color=True).model_dump())
    out = np.empty((32, 32, 3), np.uint8)
    a.augment(WholeImage(PHOTO), draw, plain, out)
    np.testing.assert_array_equal(out, augmented(PHOTO, draw, color=True))


def test_opencv_is_not_given_more_than_it_writes():
    out = np.zeros((2, 32, 32, 3), np.uint8)
    a.augment(WholeImage(PHOTO), a.draws(0, 0, 0, 1)[0], settings(flip=True, color=True), out[0])
    assert out[0].any()
    assert not out[1].any()

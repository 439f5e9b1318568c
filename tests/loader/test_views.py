import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet.images.regions import Box
from resnet.loader.random_streams import AUGMENTATION, draws
from resnet.loader.views import area_box, center_box, scale_box


@given(width=st.integers(1, 3000), height=st.integers(1, 3000), position=st.integers(0, 10**6))
def test_every_box_is_within_the_image(width, height, position):
    draw = draws(0, 0, position, 1, AUGMENTATION)[0]
    for box in (
        scale_box(width, height, 224, draw, 256, 480),
        area_box(width, height, draw, 0.08, 4 / 3),
        center_box(width, height, 224, 256),
    ):
        assert box.width >= 1
        assert box.height >= 1
        assert 0 <= box.x <= width - box.width
        assert 0 <= box.y <= height - box.height


def test_the_scale_crop_sees_as_much_as_a_224_crop_of_the_scaled_image():
    sides = [scale_box(500, 375, 224, draw, 256, 480).width for draw in draws(0, 0, 0, 20_000, AUGMENTATION)]
    shorter = 224 * 375 / np.array(sides)
    assert shorter.min() == pytest.approx(256, abs=1.5)
    assert shorter.max() == pytest.approx(480, abs=3)
    counts, _ = np.histogram(shorter, bins=8, range=(256, 480))
    np.testing.assert_allclose(counts / counts.sum(), 1 / 8, atol=0.015)  # uniform, as in the paper


def test_the_area_crop_keeps_within_its_area_and_aspect_ratio():
    boxes = [area_box(500, 375, draw, 0.08, 4 / 3) for draw in draws(0, 0, 0, 5000, AUGMENTATION)]
    area = np.array([box.width * box.height / (500 * 375) for box in boxes])
    aspect = np.array([box.width / box.height for box in boxes])
    assert area.min() == pytest.approx(0.08, abs=0.01)
    assert area.max() > 0.95
    assert aspect.min() > 0.73
    assert aspect.max() < 1.36


def test_an_image_too_narrow_for_any_area_crop_shows_its_centre():
    assert area_box(2, 1000, draws(0, 0, 0, 1, AUGMENTATION)[0], 0.08, 4 / 3) == Box(0, 498, 2, 3)


def test_evaluation_sees_the_centre():
    assert center_box(500, 375, 224, 256) == Box(86, 23, 328, 328)
    assert center_box(28, 28, 28, 28) == Box(0, 0, 28, 28)

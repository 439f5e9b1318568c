"""Which operations are chosen, how often and how strongly; and what is erased."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from resnet.loader import policies
from resnet.loader.policies import RAND_AUGMENT, TRIVIAL_AUGMENT, Change, Choice, erase, rand_augment, trivial_augment
from resnet.loader.random_streams import ERASING, POLICY, draws

IMAGE = np.full((50, 40, 3), 200, np.uint8)


@pytest.fixture
def chosen(monkeypatch) -> list[tuple[str, float]]:
    """Notes each operation and its strength."""
    noted: list[tuple[str, float]] = []

    def noting(choice: Choice) -> Choice:
        def operation(pixels, strength, fill):
            noted.append((choice.operation.__name__, strength))
            return pixels

        return choice._replace(operation=operation)

    for name in ("RAND_AUGMENT", "TRIVIAL_AUGMENT"):
        monkeypatch.setattr(policies, name, tuple(map(noting, getattr(policies, name))))
    return noted


def done(changes: list[Change]) -> None:
    for change in changes:
        change(IMAGE)


def test_rand_augment_chooses_evenly_and_leaves_out_half(chosen):
    for draw in draws(0, 0, 0, 6000, POLICY).tolist():
        done(rand_augment(draw, 2, 6.0, 0.5))
    counts = Counter(name for name, _ in chosen)
    assert set(counts) == {choice.operation.__name__ for choice in RAND_AUGMENT}
    np.testing.assert_allclose(list(counts.values()), 6000 / len(RAND_AUGMENT), rtol=0.2)


def test_rand_augments_strengths_are_those_of_timm(chosen):
    """The numbers that timm's rand-m6-mstd0.5-inc1 makes of magnitude 6 +- 0.5."""
    for draw in draws(1, 0, 0, 6000, POLICY).tolist():
        done(rand_augment(draw, 2, 6.0, 0.5))
    found = {name: np.array([s for n, s in chosen if n == name]) for name, _ in chosen}
    for name, middle, deviation in (
        ("rotate", 18, 1.5),
        ("shear_x", 0.18, 0.015),
        ("translate_y", 0.27, 0.0225),
        ("solarize_add", 66, 5.5),
    ):
        assert np.abs(found[name]).mean() == pytest.approx(middle, rel=0.02), name
        assert np.abs(found[name]).std() == pytest.approx(deviation, rel=0.15), name
    assert np.sign(found["rotate"]).mean() == pytest.approx(0, abs=0.15)
    assert np.abs(found["brightness"] - 1).mean() == pytest.approx(0.54, rel=0.02)
    assert found["solarize"].mean() == pytest.approx(256 * 0.4, rel=0.03)
    assert set(found["posterize"].tolist()) <= {1, 2, 3}


def test_the_magnitude_stays_between_0_and_10(chosen):
    for draw in draws(0, 0, 0, 500, POLICY).tolist():
        done(rand_augment(draw, 4, 9.0, 30.0))
    degrees = [abs(strength) for name, strength in chosen if name == "rotate"]
    assert (min(degrees), max(degrees)) == (0, 30)
    factors = [strength for name, strength in chosen if name == "contrast"]
    assert min(factors) == pytest.approx(0.1)


def test_trivial_augment_makes_one_change_of_any_strength(chosen):
    for draw in draws(0, 0, 0, 9000, POLICY).tolist():
        done(trivial_augment(draw))
    counts = Counter(name for name, _ in chosen)
    assert sum(counts.values()) == 9000
    assert set(counts) == {choice.operation.__name__ for choice in TRIVIAL_AUGMENT}
    np.testing.assert_allclose(list(counts.values()), 9000 / len(TRIVIAL_AUGMENT), rtol=0.2)
    degrees = {round(strength, 6) for name, strength in chosen if name == "rotate"}
    assert degrees == {round(sign * 135 * step / 30, 6) + 0.0 for step in range(31) for sign in (-1, 1)}
    assert {strength for name, strength in chosen if name == "posterize"} == {8, 7, 6, 5, 4, 3, 2}


def test_erasing_covers_a_rectangle_of_the_published_sizes_with_the_mean_colour():
    areas, ratios, erased = [], [], 0
    for draw in draws(0, 0, 0, 2000, ERASING).tolist():
        image = np.full((100, 80, 3), 200, np.uint8)
        erase(image, draw, 0.25)
        rows, columns = np.nonzero((image != 200).any(2).any(1))[0], np.nonzero((image != 200).any(2).any(0))[0]
        if len(rows):
            erased += 1
            box = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert (box == policies.IMAGENET_MEAN).all()
            areas.append(box.shape[0] * box.shape[1] / 8000)
            ratios.append(box.shape[1] / box.shape[0])
    assert erased / 2000 == pytest.approx(0.25, abs=0.03)
    assert (min(areas), max(areas)) == pytest.approx((0.02, 0.33), abs=0.01)
    assert min(ratios) < 0.4
    assert 2.5 < max(ratios) < 3.6


def test_without_probability_nothing_is_erased():
    image = IMAGE.copy()
    for draw in draws(0, 0, 0, 100, ERASING).tolist():
        erase(image, draw, 0.0)
    np.testing.assert_array_equal(image, IMAGE)

import math

import numpy as np
import pytest
from PIL import Image
from sample_images import jpeg, photographs

from resnet.images.decoding import decode, png
from resnet.images.regions import Box, IndexedJpeg, WholeImage, open_image
from resnet.images.restarts import insert_restarts
from resnet.loader import color
from resnet.loader.policies import BLACK, RAND_AUGMENT, TRIVIAL_AUGMENT, Change, erase
from resnet.loader.random_streams import AUGMENTATION, DRAWS, ERASING, POLICY, draws
from resnet.loader.transforms import Augment, CenterCrop, Framing, resize, show
from resnet.loader.views import X, Y
from resnet.settings import Augmentation

PHOTO = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


def augment(size=32, **changes) -> Augment:
    return Augment.of(Augmentation(**{"flip": False, "color": False} | changes), size)


def augmented(pixels, draw, size=32, **changes) -> np.ndarray:
    out = np.empty((size, size, 3), np.uint8)
    augment(size, **changes)(WholeImage(pixels), [draw], out)
    return out


def test_the_pad_crop_moves_the_image_by_up_to_the_padding_in_each_direction():
    square = np.full((32, 32, 3), 200, np.uint8)
    seen = set()
    for draw in draws(0, 0, 0, 3000, AUGMENTATION):
        out = augmented(square, draw, crop="pad", padding=2)
        rows, columns = np.flatnonzero(out[:, :, 0].any(1)), np.flatnonzero(out[:, :, 0].any(0))
        seen.add((int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])))
        assert set(np.unique(out)) <= {0, 200}
    assert len(seen) == 25


def test_the_pad_crop_copies_pixels_unchanged():
    image = PHOTO[:32, :32]
    draw = draws(0, 0, 0, 1, AUGMENTATION)[0]
    draw[[X, Y]] = (0.99, 0.0)  # two to the right, two up
    out = augmented(image, draw, crop="pad", padding=2)
    np.testing.assert_array_equal(out[:30, 2:], image[2:, :30])


def test_half_of_the_images_are_mirrored():
    flips = 0
    for draw in draws(0, 0, 0, 400, AUGMENTATION):
        plain, mirrored = augmented(PHOTO, draw), augmented(PHOTO, draw, flip=True)
        if not np.array_equal(plain, mirrored):
            np.testing.assert_array_equal(mirrored, plain[:, ::-1])
            flips += 1
    assert 160 < flips < 240


def test_shrinking_to_less_than_half_averages_all_pixels():
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    out = np.empty((32, 32, 3), np.uint8)
    resize(WholeImage(noise), Box(0, 0, 320, 320), out)
    assert out.std() < 10  # the mean of 100 pixels each: 74 / sqrt(100); linear interpolation sees four, and gives 37


def stepwise(pixels, draw, position) -> np.ndarray:
    """The colour changes one after the other on float pixels, as the benchmark describes them."""
    x = pixels.astype(np.float64) / 255
    brightness = 2 * 32 / 255 * draw[color.BRIGHTNESS] - 32 / 255
    saturation, contrast = 0.5 + draw[color.SATURATION], 0.5 + draw[color.CONTRAST]
    angle = 0.2 * math.pi * (2 * draw[color.HUE] - 1)

    def hue_and_saturation(x):
        y, i, q = np.moveaxis(x @ color.TO_YIQ.T, -1, 0)
        turned = saturation * (i + 1j * q) * np.exp(1j * angle)
        return np.stack([y, turned.real, turned.imag], -1) @ np.linalg.inv(color.TO_YIQ).T

    def contrasted(x):
        mean = x.mean((0, 1))
        return (x - mean) * contrast + mean

    x = x + brightness
    for change in (hue_and_saturation, contrasted) if position % 2 == 0 else (contrasted, hue_and_saturation):
        x = change(x)
    return np.clip(x, 0, 1) * 255


@pytest.mark.parametrize("position", [0, 1])
def test_the_colour_matrix_equals_the_steps_one_after_the_other(position):
    for draw in draws(5, 0, 0, 50, AUGMENTATION):
        plain = augmented(PHOTO, draw)
        colored = augmented(PHOTO, draw, color=True)
        # One rounding at the end, of a product with the coefficients that OpenCV's fixed-point arithmetic has.
        np.testing.assert_allclose(colored, stepwise(plain, draw, position), atol=0.75)


def test_neutral_draws_leave_colours_unchanged():
    neutral = np.full(DRAWS, 0.5)
    np.testing.assert_array_equal(augmented(PHOTO, neutral, color=True), augmented(PHOTO, neutral))


def test_a_transform_writes_its_own_row_only():
    out = np.zeros((2, 32, 32, 3), np.uint8)
    augment(flip=True, color=True)(WholeImage(PHOTO), draws(0, 0, 0, 1, AUGMENTATION), out[0])
    assert out[0].any()
    assert not out[1].any()


def test_every_view_of_a_stored_file_goes_through_one_function():
    drawn = draws(0, 0, 0, 1, AUGMENTATION)
    for transform in (augment(), CenterCrop(40)):
        for encoded in (jpeg(PHOTO), png(PHOTO)):
            shown, expected = (np.empty((32, 32, 3), np.uint8) for _ in range(2))
            show(encoded, transform, drawn, shown)
            transform(WholeImage(decode(encoded)), drawn, expected)
            np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize("interpolation", ["pillow-bilinear", "pillow-bicubic"])
@pytest.mark.parametrize(("width", "height", "shorter_side"), [(500, 375, 256), (301, 555, 235), (90, 60, 64)])
def test_pillow_views_have_the_pixels_that_torchvision_and_timm_see(
    picture, interpolation, width, height, shorter_side
):
    pixels, size = picture(3, width, height), 56
    # Resize and CenterCrop of torchvision 0.28 on a Pillow image, in its order and with its rounding.
    short, long = sorted((width, height))
    longer_side = int(shorter_side * long / short)
    resized = (longer_side, shorter_side) if width > height else (shorter_side, longer_side)
    filters = {"pillow-bilinear": Image.Resampling.BILINEAR, "pillow-bicubic": Image.Resampling.BICUBIC}
    whole = Image.fromarray(pixels).resize(resized, filters[interpolation])
    left, top = round((resized[0] - size) / 2.0), round((resized[1] - size) / 2.0)
    expected = np.asarray(whole.crop((left, top, left + size, top + size)))

    out = np.empty((size, size, 3), np.uint8)
    CenterCrop(shorter_side, interpolation)(WholeImage(pixels), [], out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("crop", ["scale", "area", "pad"])
def test_the_framing_says_which_box_is_shown_where_and_whether_mirrored(crop):
    settings = {"crop": crop, "flip": True, "scale_min": 40, "scale_max": 60}
    for draw in draws(3, 0, 0, 40, AUGMENTATION):
        box, (dx, dy), is_flipped = augment(**settings).framing(120, 90, 32, draw)
        expected = np.empty((32, 32, 3), np.uint8)
        resize(WholeImage(PHOTO), box, expected)
        padded = np.pad(expected, [(4, 4), (4, 4), (0, 0)])
        expected = padded[4 - dy : 36 - dy, 4 - dx : 36 - dx]
        np.testing.assert_array_equal(augmented(PHOTO, draw, **settings), expected[:, ::-1] if is_flipped else expected)


def test_the_frame_of_a_moved_image_reaches_beyond_it_in_its_own_pixels():
    assert Framing(Box(10, 20, 64, 64), (2, -3), True).frame(32) == (6, 26, 64, 64)
    assert Framing(Box(10, 20, 50, 40), (0, 0), False).frame(32) == (10, 20, 50, 40)


@pytest.mark.parametrize(
    ("size", "width", "height", "is_half"),
    [(40, 100, 100, True), (60, 100, 100, False), (40, 70, 100, False), (40, 100, 70, False)],
)
def test_a_crop_of_more_than_twice_the_size_can_be_decoded_at_half_of_it(size, width, height, is_half, monkeypatch):
    """100 pixels are 2.5 times 40, and 1.7 times 60; 70 are less than twice 40."""
    image = open_image(insert_restarts(photographs(1)[0][0]))
    assert isinstance(image, IndexedJpeg)
    box, asked = Box(2, 4, width, height), []
    whole = IndexedJpeg.region_at_half
    monkeypatch.setattr(IndexedJpeg, "region_at_half", lambda image, box: asked.append(box) or whole(image, box))
    plain, halved = np.empty((2, size, size, 3), np.uint8)
    resize(image, box, plain)
    assert asked == []
    resize(image, box, halved, half_decoding=True)
    assert asked == ([box] if is_half else [])
    difference = np.abs(plain.astype(int) - halved).mean()
    assert (0 < difference < 5) if is_half else difference == 0


@pytest.mark.parametrize("policy", ["randaugment", "trivialaugment"])
def test_a_policy_whose_operations_change_nothing_leaves_crop_flip_and_colour_as_they_were(policy, monkeypatch):
    monkeypatch.setattr(Change, "__call__", lambda change, pixels: pixels)
    settings = {"crop": "area", "flip": True, "color": True}
    for position in range(5):
        plain, changed = np.empty((2, 32, 32, 3), np.uint8)
        drawn = [draws(0, 0, position, 1, stream).tolist()[0] for stream in (AUGMENTATION, POLICY)]
        augment(**settings)(WholeImage(PHOTO), drawn[:1], plain)
        augment(**settings, policy=policy)(WholeImage(PHOTO), drawn, changed)
        np.testing.assert_array_equal(changed, plain)


def test_the_operations_of_a_policy_follow_each_other(monkeypatch):
    halve = Change(lambda pixels, strength, fill: pixels // 2, 0.0, BLACK)
    monkeypatch.setattr("resnet.loader.transforms.rand_augment", lambda *_: [halve, halve, halve])
    shown, plain = np.empty((2, 32, 32, 3), np.uint8)
    drawn = [draws(0, 0, 0, 1, stream).tolist()[0] for stream in (AUGMENTATION, POLICY)]
    augment(crop="area")(WholeImage(PHOTO), drawn[:1], plain)
    augment(crop="area", policy="randaugment")(WholeImage(PHOTO), drawn, shown)
    np.testing.assert_array_equal(shown, plain // 8)


@pytest.mark.parametrize(("policy", "choices"), [("randaugment", RAND_AUGMENT), ("trivialaugment", TRIVIAL_AUGMENT)])
def test_what_changes_an_image_is_said_in_words(policy, choices, monkeypatch):
    """An image that no word is said of is as it was, and each word is that of an operation that took place."""
    done = []
    once = Change.__call__
    monkeypatch.setattr(
        Change, "__call__", lambda change, pixels: (done.append(change.operation), once(change, pixels))[1]
    )
    transform, said = augment(crop="area", policy=policy, erasing=0.5), []
    for position in range(60):
        shown, plain = np.empty((2, 32, 32, 3), np.uint8)
        drawn = [draws(0, 0, position, 1, stream).tolist()[0] for stream in transform.streams]
        done.clear()
        transform(WholeImage(PHOTO), drawn, shown)
        operations = [operation.__name__ for operation in done]
        augment(crop="area", policy=policy)(WholeImage(PHOTO), drawn[:-1], plain)
        words = transform.in_words(drawn, 32)
        assert words == operations + ["erased"] * bool((shown != plain).any())
        said += words
    assert {"erased"} < set(said) <= {choice.operation.__name__ for choice in choices} | {"erased"}


def test_a_rectangle_is_erased_by_the_numbers_of_its_own_stream():
    plain, covered = np.empty((2, 32, 32, 3), np.uint8)
    drawn = [draws(0, 0, 3, 1, stream).tolist()[0] for stream in (AUGMENTATION, ERASING)]
    augment(crop="area")(WholeImage(PHOTO), drawn[:1], plain)
    augment(crop="area", erasing=1.0)(WholeImage(PHOTO), drawn, covered)
    erase(plain, drawn[1], 1.0)
    np.testing.assert_array_equal(covered, plain)


def test_a_smaller_pad_crop_shows_the_same_in_fewer_pixels():
    square = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    for draw in draws(0, 0, 0, 20, AUGMENTATION):
        whole, small = np.empty((32, 32, 3), np.uint8), np.empty((16, 16, 3), np.uint8)
        transform = augment(32, crop="pad", padding=4)
        transform(WholeImage(square), [draw], whole)
        transform(WholeImage(square), [draw], small)
        dx, dy = transform.framing(32, 32, 32, draw).shift
        if dx % 2 == dy % 2 == 0:  # whole pixels of the small one too
            averaged = whole.reshape(16, 2, 16, 2, 3).mean((1, 3))
            assert np.abs(averaged - small).max() <= 1

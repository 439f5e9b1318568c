"""Views of validation images: crops, mirror images, whole images at several sizes."""

from __future__ import annotations

import functools
import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from evaluation import predictions_on_devices
from model.comparison import network_with_random_norms, relative_difference, weights
from model.keras_reference import KerasReference
from sample_images import jpeg, photographs, write_records
from scipy.special import softmax

from resnet.evaluation.views import Seen, evaluate_view
from resnet.inference import Predictor
from resnet.loader.batches import BLOCK, block
from resnet.model.network import ResNet
from resnet.records.example import decode
from resnet.records.shards import RecordReader, ShardedRecords
from resnet.run import Machine, Run

SIZE, SHORTER = 32, 40  # of the crop, and of the image that it is cut from
SCALES = (32, 37, 55, 69, 91)  # 224, 256, 384, 480 and 640 for crops of 224, here of 32
VIEWS = ("1-crop", "10-crop", "multi-scale")


def a_run(artifacts: Path, *overrides: str) -> Run:
    settings = [f"model.image_size={SIZE}", f"evaluation.shorter_side={SHORTER}", "augmentation.scale_min=32"]
    return Run.of("imagefolder", [*settings, *overrides], artifacts=artifacts, machine=Machine(workers=1))


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> ShardedRecords:
    """75 photographs of many sizes and shapes. The last one is five times as wide as high."""
    folder = tmp_path_factory.mktemp("records")
    images = photographs(74, seed=3)
    wide = np.random.default_rng(0).integers(0, 256, (30, 150, 3), np.uint8)
    write_records(folder, "validation", [*images, (jpeg(wide), 0)], shards=1)
    return ShardedRecords(folder, "validation")


@pytest.fixture(scope="module")
def network() -> ResNet:
    return network_with_random_norms(18, "1x1", np.random.default_rng(1).integers(0, 256, (8, 64, 64, 3), np.uint8))


@pytest.fixture(scope="module")
def predictor(network, records) -> Predictor:
    return Predictor(network, tf.distribute.OneDeviceStrategy("/cpu:0"), block(records))


@pytest.fixture(scope="module")
def pixels(records) -> list[np.ndarray]:
    """All images, decoded whole."""
    reader = RecordReader(records.shards)
    payloads = (
        reader.payload(*(int(entry[name]) for name in ("shard", "offset", "length"))) for entry in records.index
    )
    encoded = [np.frombuffer(decode(payload).encoded, np.uint8) for payload in payloads]
    return [cv2.imdecode(image, cv2.IMREAD_COLOR)[:, :, ::-1] for image in encoded]


@pytest.fixture(scope="module")
def seen_in(records, predictor, tmp_path_factory) -> Callable[[str], tuple[Seen, np.ndarray]]:
    """seen_in(view): what came of a pass over all images, and their logits. Each view is evaluated once."""

    @functools.cache
    def evaluated(view: str) -> tuple[Seen, np.ndarray]:
        kept: list[np.ndarray] = []
        seen = evaluate_view(a_run(tmp_path_factory.mktemp("artifacts")), records, predictor, view, kept.append)
        return seen, np.concatenate(kept)

    return evaluated


def scaled(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Linear down to half the size, the mean over areas below."""
    is_far_smaller = min(image.shape[:2]) > 2 * min(width, height)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if is_far_smaller else cv2.INTER_LINEAR)


def ten_crops(image: np.ndarray) -> list[np.ndarray]:
    """Krizhevsky et al. 2012: the four corners and the centre, and these mirrored."""
    height, width = image.shape[:2]
    side = round(SIZE * min(width, height) / SHORTER)
    corners = [(0, 0), (width - side, 0), (0, height - side), (width - side, height - side)]
    places = [*corners, ((width - side) // 2, (height - side) // 2)]
    crops = [scaled(np.ascontiguousarray(image[y : y + side, x : x + side]), SIZE, SIZE) for x, y in places]
    return crops + [crop[:, ::-1] for crop in crops]


def five_scales(image: np.ndarray) -> list[np.ndarray]:
    """He et al. 2015, but without the mirror: the whole image, shorter side scaled, the longer one in proportion."""
    height, width = image.shape[:2]
    sizes = [
        (scale, int(scale * height / width)) if width <= height else (int(scale * width / height), scale)
        for scale in SCALES
    ]
    return [scaled(image, *size) for size in sizes]


@pytest.mark.parametrize(("view", "looks"), [("10-crop", ten_crops), ("multi-scale", five_scales)])
def test_a_view_averages_the_probabilities_that_an_independent_network_gives_its_looks(
    view, looks, network, pixels, seen_in
):
    reference = KerasReference(18, "1x1", weights(network), size=None)
    found = softmax(seen_in(view)[1], 1)
    several = [0, 1, 70]
    assert len({pixels[number].shape[:2] for number in several}) == len(several)  # some wide, some high
    for number in several:
        of_one_size = itertools.groupby(looks(pixels[number]), np.shape)
        logits = [reference.logits(np.stack(list(some)), training=False) for _, some in of_one_size]
        expected = softmax(np.concatenate(logits).astype(np.float64), 1).mean(0)
        assert relative_difference(found[number], expected) < 1e-4


def test_a_view_with_pillows_pixels_cuts_its_corners_from_the_image_that_pillow_scales(
    records, predictor, pixels, tmp_path
):
    from PIL import Image

    run = a_run(tmp_path, "evaluation.interpolation=pillow-bicubic")
    kept: list[np.ndarray] = []
    evaluate_view(run, records, predictor, "10-crop", kept.append)
    height, width = pixels[5].shape[:2]
    size = (SHORTER, int(SHORTER * height / width)) if width <= height else (int(SHORTER * width / height), SHORTER)
    whole = np.asarray(Image.fromarray(np.ascontiguousarray(pixels[5])).resize(size, Image.Resampling.BICUBIC))
    bottom, right = whole.shape[0] - SIZE, whole.shape[1] - SIZE
    places = [(0, 0), (0, right), (bottom, 0), (bottom, right), (round(bottom / 2), round(right / 2))]
    crops = np.stack([whole[y : y + SIZE, x : x + SIZE] for y, x in places])
    logits = np.concatenate([predictor(crops), predictor(np.ascontiguousarray(crops[:, :, ::-1]))])
    np.testing.assert_allclose(softmax(kept[0][5]), softmax(logits.astype(np.float64), 1).mean(0), rtol=1e-5)


def test_every_view_shows_every_image_once_and_says_of_how_many_it_shows_the_middle_only(records, pixels, seen_in):
    long = sum(max(image.shape[:2]) >= 4 * min(image.shape[:2]) for image in pixels)
    assert 0 < long < 75
    for view in VIEWS:
        seen, _ = seen_in(view)
        assert sorted(seen.filenames) == sorted(f"validation-{i}.jpg" for i in range(75))
        assert seen.answers.labels.tolist() == records.index["label"].tolist()
        assert seen.cut == (long if view == "multi-scale" else 0)


def test_predictions_are_the_same_for_any_batch_size_and_number_of_devices(tmp_path):
    images = photographs(BLOCK + 1, seed=3)  # one device sees the last one alone, four see a few each
    write_records(tmp_path / "many", "validation", images, shards=1)
    write_records(tmp_path / "few", "validation", images[:11], shards=1)
    command = [sys.executable, predictions_on_devices.__file__, tmp_path, "4"]
    subprocess.run(command, check=True)  # a process of its own: TensorFlow splits the CPU only at its start
    predictions_on_devices.write_all(tmp_path, 1)
    for view, count, shown in (("1-crop", 6, BLOCK + 1), ("10-crop", 2, BLOCK + 1), ("multi-scale", 2, 11)):
        for kind in ("csv", "npy"):
            files = sorted(tmp_path.glob(f"{view}-*.{kind}"))
            assert len(files) == count
            assert len({file.read_bytes() for file in files}) == 1
        assert len(np.load(files[0])) == shown


def test_views_of_one_look_keep_the_logits_as_they_are(seen_in):
    seen, logits = seen_in("1-crop")
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits.argmax(1), seen.answers.likeliest[:, 0])

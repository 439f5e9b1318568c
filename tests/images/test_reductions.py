"""What of an image file its record does not have."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from resnet.images.stored import to_stored

TRANSPARENCY = "transparency dropped"
FRAMES = "only the first of several frames or pages"
REDUCED = {
    "CMYK JPEG": ("CMYK to RGB",),
    "YCCK JPEG": ("CMYK to RGB",),
    "16-bit PNG": ("16 bits to 8",),
    "RGBA PNG": (TRANSPARENCY,),
    "grey PNG with alpha": (TRANSPARENCY,),
    "PNG with a transparent colour": (TRANSPARENCY,),
}


def written(suffix: str, pixels: np.ndarray) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


def test_what_is_reduced_is_said_and_nothing_of_images_that_keep_their_pixels(image_files):
    found = {kind: to_stored(content).reduced for kind, content in image_files.items()}
    assert found == dict.fromkeys(image_files, ()) | REDUCED


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (8, "16 bits to 8: at most 1 of 256 levels remain"),
        (12, "16 bits to 8: at most 16 of 256 levels remain"),
        (14, "16 bits to 8: at most 64 of 256 levels remain"),
        (15, "16 bits to 8"),
        (16, "16 bits to 8"),
    ],
)
def test_sixteen_bits_are_reduced_to_eight_and_few_remaining_levels_are_said(suffix, bits, expected):
    pixels = np.random.default_rng(0).integers(0, 1 << bits, (40, 50), np.uint16)
    stored = to_stored(written(suffix, pixels))
    assert stored.reduced == (expected,)
    assert len(np.unique(cv2.imdecode(np.frombuffer(stored.encoded, np.uint8), 0))) <= 1 << (bits - 8)


def test_floating_point_is_reduced_to_eight_bits():
    pixels = np.random.default_rng(0).random((40, 50, 3), np.float32)
    assert to_stored(written(".hdr", pixels)).reduced == ("floating point to 8",)
    assert to_stored(written(".pfm", pixels)).reduced == ("floating point to 8: at most 2 of 256 levels remain",)


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("WEBP", "RGBA"), ("TIFF", "RGBA"), ("TIFF", "LA")])
def test_transparency_is_dropped(picture, encoded, kind, mode):
    assert to_stored(encoded(picture(), kind, mode)).reduced == (TRANSPARENCY,)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_an_alpha_channel_that_is_opaque_everywhere_is_no_loss(picture, encoded, kind):
    lossless = {"lossless": True} if kind == "WEBP" else {}
    image = Image.fromarray(picture()).convert("RGBA")
    assert to_stored(encoded(np.asarray(image), kind, "RGBX" if kind == "TIFF" else "RGB", **lossless)).reduced == ()
    assert to_stored(written(f".{kind.lower()}", np.asarray(image))).reduced == ()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_only_the_first_of_several_frames_or_pages_is_used(picture, encoded, kind):
    others = [Image.fromarray(picture(seed)) for seed in (1, 2)]
    stored = to_stored(encoded(picture(), kind, save_all=True, append_images=others))
    assert FRAMES in stored.reduced
    assert set(stored.reduced) <= {FRAMES, TRANSPARENCY}


def test_a_cmyk_tiff_is_converted(picture, encoded):
    assert to_stored(encoded(picture(), "TIFF", "CMYK")).reduced == ("CMYK to RGB",)


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("kind", ["TIFF", "PNG", "WEBP"])
def test_an_orientation_tag_is_no_loss(picture, encoded, kind, tag):
    exif = Image.Exif()
    exif[0x0112] = tag
    assert to_stored(encoded(picture(), kind, exif=exif)).reduced == ()

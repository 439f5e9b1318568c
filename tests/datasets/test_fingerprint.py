"""What a source's images are known by: a listing of what is read, and a stamp that says whether to look again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_imagenet import KIT, TRAIN_TAR, kit_files, kit_tar

from resnet.datasets.source import FileImage, PixelImage, with_stamps
from resnet.datasets.tfrecords import RecordImage


def touch(path: Path) -> None:
    """Make a file look modified a second later."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


@pytest.fixture
def folder(files, tmp_path) -> Path:
    return files(tmp_path / "folder", {f"{name}/{i}.jpg": b"image" for name in ("cat", "dog") for i in range(2)})


@pytest.fixture
def tfrecords(files, tmp_path) -> Path:
    return files(tmp_path / "tfrecords", {f"train-0000{i}-of-00002": b"records" for i in range(2)})


@pytest.mark.parametrize(
    ("source", "layout", "file"),
    [
        ("folder", "folder", "cat/1.jpg"),
        ("tfrecords", "tfrecords", "train-00001-of-00002"),
        ("imagenet", "archives", TRAIN_TAR),
        ("imagenet", "unpacked", "train/n01000001"),
        ("imagenet", "unpacked", "val"),
        ("imagenet", "class_folders", "val/n01000001"),
    ],
)
def test_a_file_with_another_time_has_another_stamp_in_the_same_listing(source_of, source, layout, file, request):
    root = request.getfixturevalue(layout)
    before = source_of(source, root).fingerprint()
    touch(root / file)
    after = source_of(source, root).fingerprint()
    assert after.listing == before.listing
    assert after.stamp != before.stamp


@pytest.mark.parametrize(
    ("source", "layout"),
    [("folder", "folder"), ("tfrecords", "tfrecords"), ("imagenet", "archives"), ("imagenet", "class_folders")],
)
def test_a_copy_with_its_times_has_the_same_fingerprint(source_of, source, layout, request, tmp_path):
    root = request.getfixturevalue(layout)
    shutil.copytree(root, tmp_path / "copy")
    assert source_of(source, tmp_path / "copy").fingerprint() == source_of(source, root).fingerprint()


@pytest.mark.parametrize(("source", "layout"), [("folder", "folder"), ("tfrecords", "tfrecords")])
def test_a_file_of_another_size_is_another_listing(source_of, source, layout, request):
    root = request.getfixturevalue(layout)
    before = source_of(source, root).fingerprint()
    with open(next(path for path in sorted(root.rglob("*")) if path.is_file()), "ab") as file:
        file.write(b"more")
    after = source_of(source, root).fingerprint()
    assert after.listing != before.listing
    assert after.stamp != before.stamp


def test_class_folders_beside_the_archive_that_is_read_do_not_count(source_of, files, archives):
    before = source_of("imagenet", archives).fingerprint()
    files(archives, {"train/n01000001/1.JPEG": b"unpacked", "val/n01000001/1.JPEG": b"unpacked"})
    assert source_of("imagenet", archives).fingerprint() == before


def test_another_file_in_a_flat_validation_folder_is_another_listing(source_of, files, unpacked):
    before = source_of("imagenet", unpacked).fingerprint()
    files(unpacked, {"val/ILSVRC2012_val_00000099.JPEG": b"new"})
    assert source_of("imagenet", unpacked).fingerprint().listing != before.listing


@pytest.mark.parametrize("layout", ["archives", "unpacked"])
def test_the_content_of_the_development_kit_counts_and_its_times_do_not(source_of, files, layout, request):
    root = request.getfixturevalue(layout)
    before = source_of("imagenet", root).fingerprint()
    path = root / KIT / "data" / "meta.mat" if layout == "unpacked" else root / f"{KIT}.tar.gz"
    touch(path)
    assert source_of("imagenet", root).fingerprint() == before
    if layout == "unpacked":
        files(root, kit_files(truth=[1, 1, 1, 1, 1, 1, 1]))
    else:
        path.write_bytes(kit_tar(truth=[1, 1, 1, 1, 1, 1, 1]))
    assert source_of("imagenet", root).fingerprint().listing != before.listing


def test_a_kit_archive_beside_the_kits_folder_that_is_read_does_not_count(source_of, files, unpacked):
    before = source_of("imagenet", unpacked).fingerprint()
    files(unpacked, {f"{KIT}.tar.gz": b"not read"})
    assert source_of("imagenet", unpacked).fingerprint() == before


def test_a_source_that_hashes_the_pixels_has_them_as_its_stamp_too(source_of):
    listing, stamp = source_of("digits").fingerprint()
    assert listing == stamp


@pytest.mark.parametrize("kind", [FileImage, RecordImage])
def test_an_images_stamp_changes_with_its_file_and_its_place_and_not_with_the_name(kind, tmp_path):
    path = tmp_path / "archive"
    path.write_bytes(b"content")

    def image(path: Path, offset: int = 1, size: int = 2) -> FileImage | RecordImage:
        return FileImage("1.jpg", path, offset, size) if kind is FileImage else RecordImage(path, offset, size)

    before = image(path).stamp()
    moved = path.rename(tmp_path / "moved")
    assert image(moved).stamp() == before
    assert len({before, image(moved, 2, 2).stamp(), image(moved, 1, 3).stamp()}) == 3
    touch(moved)
    touched = image(moved).stamp()
    status = moved.stat()
    moved.write_bytes(b"content and more")
    os.utime(moved, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len({before, touched, image(moved).stamp()}) == 3


def test_the_stamp_of_an_image_whose_file_is_gone_raises_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        FileImage("1.jpg", tmp_path / "gone.jpg").stamp()


def test_the_stamp_of_pixels_changes_with_a_pixel_and_with_the_shape():
    pixels = np.zeros((2, 3), np.uint8)
    changed = pixels.copy()
    changed[1, 1] = 1
    assert PixelImage("a", pixels).stamp() == PixelImage("b", pixels.copy()).stamp()
    assert len({PixelImage("a", some).stamp() for some in (pixels, changed, pixels.reshape(3, 2))}) == 3


def test_the_stamps_of_the_same_images_in_several_places_are_kept_up_to_a_limit():
    stamps = ["0"]
    for number in range(1, 30):
        stamps = with_stamps(stamps, [str(number)])
    assert stamps == [str(number) for number in range(14, 30)]
    assert with_stamps(stamps, ["20"]) == stamps

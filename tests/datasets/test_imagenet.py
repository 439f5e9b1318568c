"""ImageNet in all its layouts, read from archives and from folders."""

from __future__ import annotations

import re
import shutil
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from small_imagenet import (
    IDS,
    KIT,
    TRAIN,
    TRAIN_TAR,
    TRUTH,
    VALIDATION,
    VALIDATION_TAR,
    WORDS,
    kit_tar,
    meta_mat,
    tar,
)

from resnet import settings
from resnet.datasets import load
from resnet.datasets.imagenet import shipped_classes
from resnet.datasets.source import MissingData
from resnet.errors import UserError


@pytest.fixture
def mixed(unpacked, archives) -> Path:
    """An archive for training, files in val, and the kit's folder."""
    shutil.copy(archives / TRAIN_TAR, unpacked)
    shutil.rmtree(unpacked / "train")
    return unpacked


@pytest.fixture
def archive_and_class_folders(class_folders, archives) -> Path:
    """An archive for training, class folders in val, and no kit."""
    shutil.copy(archives / TRAIN_TAR, class_folders)
    shutil.rmtree(class_folders / "train")
    return class_folders


LAYOUTS = ["archives", "unpacked", "class_folders", "mixed", "archive_and_class_folders"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_are_positions_among_the_sorted_wordnet_ids(dataset_of, layout, request):
    loaded = dataset_of("imagenet", request.getfixturevalue(layout))
    assert [identifier for identifier, _ in loaded.classes] == ["n01000001", "n02000002", "n03000003"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_image_is_listed_once_with_its_class_and_its_bytes(dataset_of, layout, request):
    loaded = dataset_of("imagenet", request.getfixturevalue(layout))
    true_classes = dict(zip(VALIDATION, map(IDS.get, TRUTH), strict=True))
    for split, expected, contents in (
        (loaded.train, {name: name[:9] for name in TRAIN}, TRAIN),
        (loaded.validation, true_classes, VALIDATION),
    ):
        found = {}
        for i in range(len(split)):
            name = Path(split.image(i).filename).name
            found[name] = loaded.classes[split.labels[i]][0]
            assert split.image(i).read() == contents[name]
        assert found == expected
        assert len(split) == len(expected)


@pytest.mark.parametrize("layout", ["archives", "unpacked", "mixed"])
def test_class_names_are_the_words_of_the_kit(dataset_of, layout, request):
    loaded = dataset_of("imagenet", request.getfixturevalue(layout))
    assert loaded.classes == sorted(WORDS.items())


@pytest.mark.parametrize("layout", ["class_folders", "archive_and_class_folders"])
def test_class_names_are_the_wordnet_ids_without_a_kit(dataset_of, layout, request):
    loaded = dataset_of("imagenet", request.getfixturevalue(layout))
    assert loaded.classes == [(wordnet_id, wordnet_id) for wordnet_id in sorted(WORDS)]


def test_filenames_leave_out_the_folders_of_an_archive(dataset_of, archives):
    archives.joinpath(VALIDATION_TAR).write_bytes(tar((f"./val/{name}", c) for name, c in VALIDATION.items()))
    loaded = dataset_of("imagenet", archives)
    assert [loaded.validation.image(i).filename for i in range(len(TRUTH))] == list(VALIDATION)
    assert [loaded.validation.image(i).read() for i in range(len(TRUTH))] == list(VALIDATION.values())


def test_folders_in_an_archive_are_skipped(dataset_of, archives):
    for name in (TRAIN_TAR, VALIDATION_TAR):
        with tarfile.open(archives / name, "a") as archive:
            folder = tarfile.TarInfo("./a folder")
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
    loaded = dataset_of("imagenet", archives)
    assert (len(loaded.classes), len(loaded.train), len(loaded.validation)) == (3, len(TRAIN), len(VALIDATION))


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_every_tar_format_are_read(dataset_of, archives, kind):
    long = {f"{'very-' * 30}{wordnet_id}_1.JPEG": wordnet_id.encode() * 99 for wordnet_id in WORDS}
    if kind == tarfile.USTAR_FORMAT:
        long = {name[-50:]: content for name, content in long.items()}
    inner = [(f"{name[-16:-7]}.tar", tar([(name, content)], format=kind)) for name, content in long.items()]
    (archives / TRAIN_TAR).write_bytes(tar(inner, format=kind))
    loaded = dataset_of("imagenet", archives)
    assert {loaded.train.image(i).filename: loaded.train.image(i).read() for i in range(3)} == long


@given(sizes=st.lists(st.integers(0, 1600), min_size=1, max_size=6))
@hypothesis_settings(max_examples=30)
def test_images_of_any_size_are_read_byte_for_byte_from_an_archive(sizes, tmp_path_factory):
    root = tmp_path_factory.mktemp("imagenet")
    contents = {f"image-{i}.JPEG": bytes([i + 1]) * size for i, size in enumerate(sizes)}
    for wordnet_id in WORDS:
        (root / "val" / wordnet_id).mkdir(parents=True)
        (root / "val" / wordnet_id / "one.JPEG").write_bytes(b"one")
    (root / TRAIN_TAR).write_bytes(tar((f"{wordnet_id}.tar", tar(contents.items())) for wordnet_id in WORDS))
    train = load(settings.Dataset(source="imagenet"), root, root).train
    assert [train.image(i).read() for i in range(len(train))] == list(contents.values()) * 3


def test_a_kit_with_compressed_variables_is_read(dataset_of, archives):
    (archives / f"{KIT}.tar.gz").write_bytes(kit_tar(meta=meta_mat(compressed=True)))
    assert dataset_of("imagenet", archives).classes == sorted(WORDS.items())


@pytest.mark.parametrize("layout", ["archives", "unpacked"])
def test_moving_the_images_does_not_change_the_fingerprint(source_of, layout, request, tmp_path):
    root = request.getfixturevalue(layout)
    before = source_of("imagenet", root).fingerprint()
    moved = root.rename(tmp_path / "moved")
    assert source_of("imagenet", moved).fingerprint() == before


def test_the_fingerprint_changes_with_the_archives(source_of, archives):
    before = source_of("imagenet", archives).fingerprint()
    (archives / VALIDATION_TAR).write_bytes(tar(VALIDATION.items()) + bytes(512))
    assert source_of("imagenet", archives).fingerprint() != before


def test_the_fingerprint_changes_with_the_classes(source_of, unpacked):
    before = source_of("imagenet", unpacked).fingerprint()
    shutil.rmtree(unpacked / "train" / "n01000001")
    assert source_of("imagenet", unpacked).fingerprint() != before


@pytest.mark.parametrize("missing", [TRAIN_TAR, VALIDATION_TAR])
def test_missing_images_raise_missing_data_that_names_the_archive_and_the_folder(source_of, archives, missing):
    (archives / missing).unlink()
    with pytest.raises(MissingData) as caught:
        source_of("imagenet", archives)
    assert missing in str(caught.value)
    assert str(archives) in str(caught.value)
    assert ("train" if missing == TRAIN_TAR else "val") in str(caught.value)


def test_hidden_files_are_skipped(dataset_of, files, unpacked):
    files(unpacked, {"val/.DS_Store": b"of a Mac", "train/.DS_Store": b"of a Mac", "train/n01000001/.nfs01": b"of NFS"})
    loaded = dataset_of("imagenet", unpacked)
    assert (len(loaded.train), len(loaded.validation)) == (len(TRAIN), len(VALIDATION))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ({"train_images": 1281167}, "found 12 training images, but the recipe expects 1,281,167"),
        ({"validation_images": 50000}, "found 7 validation images, but the recipe expects 50,000"),
        ({"classes": 1000}, "found 3 classes, but the recipe expects 1,000"),
    ],
)
def test_an_error_names_the_found_and_the_expected_number(dataset_of, layout, request, expected, found):
    root = request.getfixturevalue(layout)
    with pytest.raises(UserError, match=found) as caught:
        dataset_of("imagenet", root, **expected)
    assert str(root) in str(caught.value)


def test_the_shipped_classes_are_ilsvrcs_1000_in_the_order_of_their_labels():
    classes = shipped_classes()
    identifiers = [identifier for identifier, _ in classes]
    assert len(classes) == 1000
    assert identifiers == sorted(set(identifiers))
    assert all(re.fullmatch(r"n\d{8}", identifier) and words for identifier, words in classes)
    assert classes[0] == ("n01440764", "tench, Tinca tinca")
    assert classes[281] == ("n02123045", "tabby, tabby cat")
    assert classes[999] == ("n15075141", "toilet tissue, toilet paper, bathroom tissue")

"""Folders of images: both layouts, and the odd files of real folders."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from resnet.datasets.source import MissingData
from resnet.errors import UserError


def images(*names: str) -> dict[str, bytes]:
    return {name: f"content of {name}".encode() for name in names}


def of_classes(parent: str, *classes: str, count: int = 5) -> dict[str, bytes]:
    return images(*(f"{parent}{name}/{number}.jpg" for name in classes for number in range(count)))


@pytest.fixture
def complaint(source_of):
    def make(root: Path) -> str:
        with pytest.raises(UserError) as caught:
            source_of("folder", root).load()
        return str(caught.value)

    return make


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_train_and_validation_folders_are_the_two_splits(dataset_of, files, labels_by_name, tmp_path, validation):
    files(tmp_path, of_classes("train/", "cat", "dog", count=3) | of_classes(f"{validation}/", "dog", "cat", count=2))
    loaded = dataset_of("folder", tmp_path)
    assert labels_by_name(loaded, loaded.train) == {
        f"train/{name}/{number}.jpg": name for name in ("cat", "dog") for number in range(3)
    }
    assert labels_by_name(loaded, loaded.validation) == {
        f"{validation}/{name}/{number}.jpg": name for name in ("cat", "dog") for number in range(2)
    }


def test_class_folders_without_train_are_split_by_the_recipes_fraction(dataset_of, files, labels_by_name, tmp_path):
    files(tmp_path, of_classes("", "cat", "dog", count=10))
    loaded = dataset_of("folder", tmp_path, validation_fraction=0.3)
    train, validation = (labels_by_name(loaded, split) for split in (loaded.train, loaded.validation))
    assert not set(train) & set(validation)
    assert train | validation == {f"{name}/{number}.jpg": name for name in ("cat", "dog") for number in range(10)}
    np.testing.assert_array_equal(np.bincount(loaded.validation.labels), [3, 3])


def test_a_train_folder_without_a_validation_folder_is_split(dataset_of, files, tmp_path):
    files(tmp_path, of_classes("train/", "cat", "dog", count=10))
    loaded = dataset_of("folder", tmp_path)
    np.testing.assert_array_equal(np.bincount(loaded.validation.labels), [2, 2])
    np.testing.assert_array_equal(np.bincount(loaded.train.labels), [8, 8])


def test_an_image_is_read_from_its_own_file(dataset_of, files, tmp_path):
    contents = of_classes("", "cat", "dog")
    loaded = dataset_of("folder", files(tmp_path, contents))
    for split in (loaded.train, loaded.validation):
        for i in range(len(split)):
            assert split.image(i).read() == contents[split.image(i).filename]


def test_labels_follow_the_sorted_class_names(dataset_of, files, tmp_path):
    files(tmp_path, of_classes("", "zebra", "ant", "Bee", "10", "9", "crane_fly"))
    assert dataset_of("folder", tmp_path).classes == [
        ("10", "10"),
        ("9", "9"),
        ("Bee", "Bee"),
        ("ant", "ant"),
        ("crane_fly", "crane fly"),
        ("zebra", "zebra"),
    ]


def test_the_split_depends_only_on_its_seed(dataset_of, files, labels_by_name, tmp_path):
    for place in ("here", "there"):
        files(tmp_path / place, of_classes("", "cat", "dog", count=20))

    def validation_names(place: str, seed: int) -> set[str]:
        loaded = dataset_of("folder", tmp_path / place, split_seed=seed)
        return set(labels_by_name(loaded, loaded.validation))

    assert validation_names("here", 0) == validation_names("there", 0) != validation_names("here", 1)


def test_images_in_folders_inside_a_class_folder_belong_to_the_class(dataset_of, files, labels_by_name, tmp_path):
    files(tmp_path, of_classes("train/", "cat", "dog") | of_classes("val/", "cat", "dog"))
    files(tmp_path, images("train/cat/at night/1.jpg", "train/cat/at night/deeper/2.jpg"))
    loaded = dataset_of("folder", tmp_path)
    found = labels_by_name(loaded, loaded.train)
    assert found["train/cat/at night/1.jpg"] == found["train/cat/at night/deeper/2.jpg"] == "cat"


def test_hidden_files_and_folders_are_skipped(dataset_of, files, tmp_path):
    files(tmp_path, of_classes("", "cat", "dog"))
    files(tmp_path, images("cat/.DS_Store", ".thumbnails/a.jpg", "dog/.cache/b.jpg", ".hidden"))
    loaded = dataset_of("folder", tmp_path)
    assert len(loaded.classes) == 2
    assert len(loaded.train) + len(loaded.validation) == 10


def test_hidden_files_and_folders_do_not_change_the_fingerprint(source_of, files, tmp_path):
    files(tmp_path, of_classes("", "cat", "dog"))
    before = source_of("folder", tmp_path).fingerprint()
    files(tmp_path, images("cat/.DS_Store", ".thumbnails/a.jpg", "dog/.cache/b.jpg", ".hidden"))
    assert source_of("folder", tmp_path).fingerprint() == before


def test_an_error_names_an_empty_class(complaint, files, tmp_path):
    files(tmp_path, of_classes("", "cat", "dog"))
    (tmp_path / "unicorn").mkdir()
    assert str(tmp_path / "unicorn") in complaint(tmp_path)


def test_an_error_names_a_class_that_is_empty_in_validation(complaint, files, tmp_path):
    files(tmp_path, of_classes("train/", "cat", "dog") | of_classes("val/", "cat"))
    (tmp_path / "val" / "dog").mkdir()
    assert str(tmp_path / "val" / "dog") in complaint(tmp_path)


@pytest.mark.parametrize("parent", ["", "train/"])
def test_a_single_class_is_refused(complaint, files, tmp_path, parent):
    files(tmp_path, of_classes(parent, "cat"))
    message = complaint(tmp_path)
    assert "one class, cat" in message
    assert str(tmp_path) in message


@pytest.mark.parametrize("parent", ["", "train/"])
def test_an_error_names_a_class_with_too_few_images_to_split(complaint, files, tmp_path, parent):
    files(tmp_path, of_classes(parent, "cat", "dog") | of_classes(parent, "unicorn", count=1))
    assert str(tmp_path / parent / "unicorn") in complaint(tmp_path)


def test_one_image_per_class_is_enough_if_there_is_a_validation_folder(dataset_of, files, tmp_path):
    files(tmp_path, of_classes("train/", "cat", "dog", count=1) | of_classes("val/", "cat", "dog", count=1))
    assert len(dataset_of("folder", tmp_path).train) == 2


@pytest.mark.parametrize("side", ["train/", "val/"])
def test_an_error_names_a_class_that_only_one_split_has(complaint, files, tmp_path, side):
    files(tmp_path, of_classes("train/", "cat", "dog") | of_classes("val/", "cat", "dog") | of_classes(side, "unicorn"))
    message = complaint(tmp_path)
    assert "unicorn" in message
    assert "cat" not in message.replace(str(tmp_path), "")


def test_an_error_names_ten_unmatched_classes_at_most(complaint, files, tmp_path):
    many = [f"class-{number:02d}" for number in range(15)]
    files(tmp_path, of_classes("train/", "cat", *many) | of_classes("val/", "cat"))
    message = complaint(tmp_path)
    assert "class-09 ..." in message
    assert "class-10" not in message


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "test"])
def test_a_validation_folder_without_a_train_folder_is_refused(complaint, files, tmp_path, validation):
    files(tmp_path, of_classes(f"{validation}/", "cat", "dog") | of_classes("", "cat"))
    message = complaint(tmp_path)
    assert validation in message
    assert "train" in message


def test_an_error_names_a_train_folder_without_class_folders(complaint, files, tmp_path):
    files(tmp_path, images("train/1.jpg", "train/2.jpg"))
    assert str(tmp_path / "train") in complaint(tmp_path)


def test_images_without_class_folders_raise_missing_data_that_shows_the_layout(source_of, files, tmp_path):
    files(tmp_path, images("1.jpg", "2.jpg"))
    with pytest.raises(MissingData, match="ROOT/CLASS"):
        source_of("folder", tmp_path)


def test_moving_the_images_does_not_change_the_fingerprint(source_of, files, tmp_path):
    files(tmp_path / "here", of_classes("", "cat", "dog"))
    shutil.copytree(tmp_path / "here", tmp_path / "else" / "where")
    fingerprints = {source_of("folder", tmp_path / place).fingerprint() for place in ("here", "else/where")}
    assert len(fingerprints) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "cat" / "0.jpg").write_bytes(b"of another size"),
        lambda root: (root / "cat" / "new.jpg").write_bytes(b"new"),
        lambda root: (root / "cat" / "0.jpg").unlink(),
        lambda root: (root / "cat" / "0.jpg").rename(root / "cat" / "renamed.jpg"),
        lambda root: (root / "cat" / "0.jpg").rename(root / "dog" / "moved.jpg"),
    ],
    ids=["changed", "added", "removed", "renamed", "moved to another class"],
)
def test_the_fingerprint_changes_with_the_images(source_of, files, tmp_path, change):
    files(tmp_path, of_classes("", "cat", "dog"))
    before = source_of("folder", tmp_path).fingerprint()
    change(tmp_path)
    assert source_of("folder", tmp_path).fingerprint() != before


@pytest.mark.parametrize("parent", ["", "train/"])
def test_a_file_beside_the_class_folders_does_not_change_the_fingerprint(source_of, files, tmp_path, parent):
    files(tmp_path, of_classes(parent, "cat", "dog"))
    before = source_of("folder", tmp_path).fingerprint()
    files(tmp_path, images("README.txt"))
    assert source_of("folder", tmp_path).fingerprint() == before


def test_several_validation_folders_are_refused_by_name(complaint, files, tmp_path):
    files(tmp_path, {k: v for name in ("train", "valid", "val") for k, v in of_classes(f"{name}/", "a", "b").items()})
    message = complaint(tmp_path)
    assert "val and valid" in message
    assert "keep one" in message


def test_test_images_beside_train_alone_are_refused_with_both_ways_on(complaint, files, tmp_path):
    files(tmp_path, of_classes("train/", "cat", "dog") | of_classes("test/", "cat", "dog"))
    message = complaint(tmp_path)
    assert "Rename test to val" in message
    assert "move it away" in message


def test_what_is_beside_train_and_val_is_ignored_by_name(dataset_of, source_of, files, tmp_path):
    files(tmp_path, of_classes("train/", "cat", "dog") | of_classes("val/", "cat", "dog"))
    before = source_of("folder", tmp_path).fingerprint()
    files(tmp_path, of_classes("test/", "cat", "dog") | images("LICENSE", "extra/1.jpg", "train/README.txt", ".git/x"))
    loaded = dataset_of("folder", tmp_path)
    assert {kind: list(names) for kind, names in loaded.ignored.items()} == {
        "outside the class folders": ["train/README.txt"],
        "beside train": ["LICENSE", "extra"],
        "test images": ["test"],
    }
    assert len(loaded.train) == len(loaded.validation) == 10
    assert source_of("folder", tmp_path).fingerprint() == before


def test_files_beside_class_folders_that_are_split_are_ignored_by_name(dataset_of, files, tmp_path):
    files(tmp_path, of_classes("", "cat", "dog") | images("1.jpg", "Thumbs.db", "__MACOSX/cat/0.jpg"))
    loaded = dataset_of("folder", tmp_path)
    assert {kind: list(names) for kind, names in loaded.ignored.items()} == {
        "outside the class folders": ["1.jpg"],
        "system file": ["Thumbs.db", "__MACOSX"],
    }
    assert [name for name, _ in loaded.classes] == ["cat", "dog"]


@pytest.mark.parametrize("name", ["cat\tdog", "cat\ndog", "cat\rdog"])
def test_a_class_folder_with_a_control_character_in_its_name_is_refused(outcome_of, files, tmp_path, name):
    files(tmp_path, of_classes("", name, "unicorn"))
    message = outcome_of("folder", tmp_path)
    assert repr(name) in message
    assert "Rename its folder" in message


def test_class_folders_may_be_symbolic_links(dataset_of, source_of, files, tmp_path):
    files(tmp_path / "kept elsewhere", of_classes("", "cat", "dog"))
    root = tmp_path / "photographs"
    root.mkdir()
    for name in ("cat", "dog"):
        (root / name).symlink_to(tmp_path / "kept elsewhere" / name)
    loaded = dataset_of("folder", root)
    assert len(loaded.train) + len(loaded.validation) == 10
    before = source_of("folder", root).fingerprint()
    files(root, images("cat/new.jpg"))
    assert source_of("folder", root).fingerprint() != before


def test_a_broken_link_counts_as_an_image_and_raises_no_error(dataset_of, source_of, files, tmp_path):
    files(tmp_path, of_classes("train/", "cat", "dog") | of_classes("val/", "cat", "dog"))
    (tmp_path / "train" / "cat" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    assert len(dataset_of("folder", tmp_path).train) == 11
    assert source_of("folder", tmp_path).fingerprint()


def test_filenames_need_not_be_utf_8(dataset_of, source_of, files, tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    files(tmp_path, of_classes("train/", "cat", "dog") | of_classes("val/", "cat", "dog"))
    files(tmp_path, {f"train/cat/{name}": b"content"})
    loaded = dataset_of("folder", tmp_path)
    (found,) = [i for i in range(11) if loaded.train.image(i).filename == f"train/cat/{name}"]
    assert loaded.train.image(found).read() == b"content"
    assert source_of("folder", tmp_path).fingerprint()


@pytest.mark.parametrize("names", [("Train", "Val"), ("Train", "test"), ("TRAIN", "validation")])
def test_names_of_splits_in_capitals_are_no_classes(names, files, tmp_path, outcome_of):
    root = files(tmp_path / "images", {f"{name}/{number}.jpg": b"?" for name in names for number in range(2)})
    assert f"has a folder {names[0]}: rename it to {names[0].lower()}, or it counts as a class" in outcome_of(
        "folder", root
    )


def test_a_class_may_be_called_train_with_a_capital(files, tmp_path, dataset_of):
    names = ("Bus", "Car", "Train")
    root = files(tmp_path / "images", {f"{name}/{number}.jpg": b"?" for name in names for number in range(2)})
    assert [identifier for identifier, _ in dataset_of("folder", root).classes] == list(names)

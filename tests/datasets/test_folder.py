"""Folders of images, in both layouts and with the oddities of folders that people keep."""

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


@pytest.mark.parametrize("held", ["val", "validation"])
def test_train_and_validation_folders_are_the_two_splits(dataset_of, files, labels_by_name, tmp_path, held):
    files(tmp_path, of_classes("train/", "cat", "dog", count=3) | of_classes(f"{held}/", "dog", "cat", count=2))
    loaded = dataset_of("folder", tmp_path)
    assert labels_by_name(loaded, loaded.train) == {
        f"train/{name}/{number}.jpg": name for name in ("cat", "dog") for number in range(3)
    }
    assert labels_by_name(loaded, loaded.validation) == {
        f"{held}/{name}/{number}.jpg": name for name in ("cat", "dog") for number in range(2)
    }


def test_class_folders_alone_are_split_by_the_recipes_fraction(dataset_of, files, labels_by_name, tmp_path):
    files(tmp_path, of_classes("", "cat", "dog", count=10))
    loaded = dataset_of("folder", tmp_path, validation_fraction=0.3)
    held, kept = (labels_by_name(loaded, split) for split in (loaded.validation, loaded.train))
    assert not set(held) & set(kept)
    assert held | kept == {f"{name}/{number}.jpg": name for name in ("cat", "dog") for number in range(10)}
    np.testing.assert_array_equal(np.bincount(loaded.validation.labels), [3, 3])


def test_a_train_folder_without_one_to_validate_is_split_too(dataset_of, files, tmp_path):
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


def test_labels_follow_the_sorted_names_of_the_classes(dataset_of, files, tmp_path):
    files(tmp_path, of_classes("", "zebra", "ant", "Bee", "10", "9", "crane_fly"))
    assert dataset_of("folder", tmp_path).classes == [
        ("10", "10"),
        ("9", "9"),
        ("Bee", "Bee"),
        ("ant", "ant"),
        ("crane_fly", "crane fly"),
        ("zebra", "zebra"),
    ]


def test_the_split_depends_on_its_seed_alone(dataset_of, files, labels_by_name, tmp_path):
    for place in ("here", "there"):
        files(tmp_path / place, of_classes("", "cat", "dog", count=20))

    def locked(place: str, seed: int) -> set[str]:
        loaded = dataset_of("folder", tmp_path / place, split_seed=seed)
        return set(labels_by_name(loaded, loaded.validation))

    assert locked("here", 0) == locked("there", 0) != locked("here", 1)


def test_images_in_folders_inside_their_class_belong_to_it(dataset_of, files, labels_by_name, tmp_path):
    files(tmp_path, of_classes("train/", "cat", "dog") | of_classes("val/", "cat", "dog"))
    files(tmp_path, images("train/cat/at night/1.jpg", "train/cat/at night/deeper/2.jpg"))
    loaded = dataset_of("folder", tmp_path)
    found = labels_by_name(loaded, loaded.train)
    assert found["train/cat/at night/1.jpg"] == found["train/cat/at night/deeper/2.jpg"] == "cat"


def test_hidden_files_and_folders_are_no_images(dataset_of, files, tmp_path):
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


def test_a_file_of_another_kind_is_taken_for_an_image_and_not_passed_over(dataset_of, files, labels_by_name, tmp_path):
    files(tmp_path, of_classes("train/", "cat", "dog") | of_classes("val/", "cat", "dog"))
    files(tmp_path, images("train/cat/notes.txt"))
    loaded = dataset_of("folder", tmp_path)
    assert "train/cat/notes.txt" in labels_by_name(loaded, loaded.train)


def test_an_empty_class_is_named(complaint, files, tmp_path):
    files(tmp_path, of_classes("", "cat", "dog"))
    (tmp_path / "unicorn").mkdir()
    assert str(tmp_path / "unicorn") in complaint(tmp_path)


def test_a_class_that_is_empty_in_validation_is_named(complaint, files, tmp_path):
    files(tmp_path, of_classes("train/", "cat", "dog") | of_classes("val/", "cat"))
    (tmp_path / "val" / "dog").mkdir()
    assert str(tmp_path / "val" / "dog") in complaint(tmp_path)


@pytest.mark.parametrize("parent", ["", "train/"])
def test_one_class_is_nothing_to_tell_apart(complaint, files, tmp_path, parent):
    files(tmp_path, of_classes(parent, "cat"))
    message = complaint(tmp_path)
    assert "one class, cat" in message
    assert str(tmp_path) in message


@pytest.mark.parametrize("parent", ["", "train/"])
def test_a_class_with_one_image_cannot_be_split_and_is_named(complaint, files, tmp_path, parent):
    files(tmp_path, of_classes(parent, "cat", "dog") | of_classes(parent, "unicorn", count=1))
    assert str(tmp_path / parent / "unicorn") in complaint(tmp_path)


def test_a_class_with_one_image_is_enough_where_nothing_is_to_be_split(dataset_of, files, tmp_path):
    files(tmp_path, of_classes("train/", "cat", "dog", count=1) | of_classes("val/", "cat", "dog", count=1))
    assert len(dataset_of("folder", tmp_path).train) == 2


@pytest.mark.parametrize("side", ["train/", "val/"])
def test_a_class_on_one_side_only_is_named(complaint, files, tmp_path, side):
    files(tmp_path, of_classes("train/", "cat", "dog") | of_classes("val/", "cat", "dog") | of_classes(side, "unicorn"))
    message = complaint(tmp_path)
    assert "unicorn" in message
    assert "cat" not in message.replace(str(tmp_path), "")


def test_of_many_classes_that_differ_only_the_first_are_named(complaint, files, tmp_path):
    many = [f"class-{number:02d}" for number in range(15)]
    files(tmp_path, of_classes("train/", "cat", *many) | of_classes("val/", "cat"))
    message = complaint(tmp_path)
    assert "class-09 ..." in message
    assert "class-10" not in message


@pytest.mark.parametrize("held", ["val", "validation"])
def test_a_validation_folder_without_one_to_train_on_is_refused(complaint, files, tmp_path, held):
    files(tmp_path, of_classes(f"{held}/", "cat", "dog") | of_classes("", "cat"))
    message = complaint(tmp_path)
    assert held in message
    assert "train" in message


def test_a_train_folder_without_class_folders_is_named(complaint, files, tmp_path):
    files(tmp_path, images("train/1.jpg", "train/2.jpg"))
    assert str(tmp_path / "train") in complaint(tmp_path)


def test_images_without_class_folders_are_missing_data_that_shows_the_layout(source_of, files, tmp_path):
    files(tmp_path, images("1.jpg", "2.jpg"))
    with pytest.raises(MissingData, match="ROOT/CLASS"):
        source_of("folder", tmp_path)


def test_the_fingerprint_is_the_same_wherever_the_images_lie(source_of, files, tmp_path):
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


def test_class_folders_may_be_links_and_their_images_count(dataset_of, source_of, files, tmp_path):
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


def test_a_link_to_nothing_is_an_image_to_be_reported_and_no_reason_to_stop(dataset_of, source_of, files, tmp_path):
    files(tmp_path, of_classes("train/", "cat", "dog") | of_classes("val/", "cat", "dog"))
    (tmp_path / "train" / "cat" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    assert len(dataset_of("folder", tmp_path).train) == 11
    assert source_of("folder", tmp_path).fingerprint()


def test_names_that_are_not_utf_8_are_as_good_as_any(dataset_of, source_of, files, tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    files(tmp_path, of_classes("train/", "cat", "dog") | of_classes("val/", "cat", "dog"))
    files(tmp_path, {f"train/cat/{name}": b"content"})
    loaded = dataset_of("folder", tmp_path)
    (found,) = [i for i in range(11) if loaded.train.image(i).filename == f"train/cat/{name}"]
    assert loaded.train.image(found).read() == b"content"
    assert source_of("folder", tmp_path).fingerprint()

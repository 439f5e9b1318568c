"""ImageNet archives, folders and development kits that are corrupt, truncated, or do not match."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from small_imagenet import IDS, KIT, TRAIN_TAR, TRUTH, VALIDATION_TAR, WORDS, kit_files, kit_tar, meta_mat, tar

from resnet.errors import UserError


@pytest.fixture
def complaint(dataset_of):
    def make(root: Path, **values) -> str:
        with pytest.raises(UserError) as caught:
            dataset_of("imagenet", root, **values)
        return str(caught.value)

    return make


@pytest.mark.parametrize("layout", ["archives", "unpacked"])
def test_the_error_for_a_missing_kit_says_where_to_put_it(complaint, layout, request):
    root = request.getfixturevalue(layout)
    (root / f"{KIT}.tar.gz").unlink(missing_ok=True)
    shutil.rmtree(root / KIT, ignore_errors=True)
    message = complaint(root)
    assert f"{KIT}.tar.gz" in message
    assert str(root) in message


@pytest.mark.parametrize("name", [TRAIN_TAR, VALIDATION_TAR])
def test_an_archive_truncated_anywhere_is_refused(complaint, archives, name):
    whole = (archives / name).read_bytes()
    with tarfile.open(archives / name) as archive:
        last = archive.getmembers()[-1]
    for length in range(0, last.offset_data + last.size, 251):
        (archives / name).write_bytes(whole[:length])
        assert complaint(archives)


@pytest.mark.parametrize("name", [TRAIN_TAR, VALIDATION_TAR])
@pytest.mark.parametrize("where", ["in the middle of a file", "between two files"])
def test_an_error_names_a_truncated_archive(complaint, archives, name, where):
    with tarfile.open(archives / name) as archive:
        second = archive.getmembers()[1]
    end = second.offset_data + 100 if where == "in the middle of a file" else second.offset
    (archives / name).write_bytes((archives / name).read_bytes()[:end])
    assert str(archives / name) in complaint(archives)


def test_a_corrupt_header_inside_an_archive_is_an_error_and_loses_no_images(complaint, archives):
    whole = (archives / TRAIN_TAR).read_bytes()
    last_of_the_first_class = whole.find(b"n03000003_21.JPEG")
    corrupt = bytearray(whole)
    corrupt[last_of_the_first_class + 148] ^= 0xFF  # the header's checksum
    (archives / TRAIN_TAR).write_bytes(corrupt)
    assert str(archives / TRAIN_TAR) in complaint(archives)


@pytest.mark.parametrize("name", [TRAIN_TAR, VALIDATION_TAR])
@pytest.mark.parametrize("content", [b"", b"no archive" * 1000, bytes(10240)])
def test_an_error_names_a_file_that_is_not_an_archive(complaint, archives, name, content):
    (archives / name).write_bytes(content)
    assert str(archives / name) in complaint(archives)


def test_an_error_names_a_class_without_images_inside_the_archive(complaint, archives):
    inner = [(f"{wordnet_id}.tar", tar([("a.JPEG", b"a")])) for wordnet_id in WORDS]
    (archives / TRAIN_TAR).write_bytes(tar([*inner, ("n04000004.tar", tar([]))]))
    message = complaint(archives)
    assert "n04000004.tar" in message
    assert str(archives / TRAIN_TAR) in message


def test_a_truncated_kit_is_an_error_that_names_the_folder(outcome_of, archives):
    path = archives / f"{KIT}.tar.gz"
    whole = path.read_bytes()
    for length in range(0, len(whole), 29):
        path.write_bytes(whole[:length])
        outcome = outcome_of("imagenet", archives)
        if isinstance(outcome, str):
            assert str(archives) in outcome
        else:  # only the padding of the archive is missing
            assert outcome.classes == sorted(WORDS.items())


def test_a_corrupt_kit_is_an_error_and_never_changes_a_label(outcome_of, archives):
    path = archives / f"{KIT}.tar.gz"
    whole = kit_tar(meta=meta_mat(compressed=True))
    for position in range(0, len(whole), 11):
        corrupt = bytearray(whole)
        corrupt[position] ^= 0xFF
        path.write_bytes(corrupt)
        outcome = outcome_of("imagenet", archives)
        if isinstance(outcome, str):
            assert str(archives) in outcome
        else:  # the byte does not matter, such as one of the archive's timestamp
            assert outcome.classes == sorted(WORDS.items())
            assert [outcome.classes[label][0] for label in outcome.validation.labels] == [IDS[t] for t in TRUTH]


def test_the_checksum_of_the_kits_archive_reveals_a_changed_label(complaint, archives):
    plain = tar(kit_files().items(), "w:gz", compresslevel=0)
    truth = b"".join(b"%d\n" % number for number in TRUTH)
    assert plain.count(truth) == 1
    (archives / f"{KIT}.tar.gz").write_bytes(plain.replace(truth, truth.replace(b"3", b"2")))
    assert f"development kit in {archives}" in complaint(archives)


# Their names must be the same in every process: a meta.mat has the time in it.
@pytest.mark.parametrize(
    "meta",
    [b"", b"garbage" * 99, meta_mat()[:100], meta_mat()[:-9], meta_mat(True)[:-9]],
    ids=["empty", "garbage", "header", "short", "short and compressed"],
)
@pytest.mark.parametrize("layout", ["archives", "unpacked"])
def test_an_invalid_meta_mat_is_an_error_that_names_the_folder(complaint, files, layout, request, meta):
    root = request.getfixturevalue(layout)
    if layout == "archives":
        (root / f"{KIT}.tar.gz").write_bytes(kit_tar(meta=meta))
    else:
        files(root, kit_files(meta=meta))
    assert f"development kit in {root}" in complaint(root)


def test_a_meta_mat_without_synsets_is_an_error_that_names_the_folder(complaint, archives):
    file = io.BytesIO()
    savemat(file, {"something": np.zeros(3)})
    (archives / f"{KIT}.tar.gz").write_bytes(kit_tar(meta=file.getvalue()))
    assert f"development kit in {archives}" in complaint(archives)


def test_a_kit_without_its_files_is_an_error_that_names_the_folder(complaint, archives):
    (archives / f"{KIT}.tar.gz").write_bytes(tar([(f"{KIT}/readme.txt", b"")], "w:gz"))
    assert f"development kit in {archives}" in complaint(archives)


@pytest.mark.parametrize("layout", ["archives", "unpacked"])
@pytest.mark.parametrize("truth", [TRUTH[:-1], [*TRUTH, 1], []])
def test_an_error_names_the_numbers_of_images_and_of_ids_in_the_ground_truth(complaint, files, layout, request, truth):
    root = request.getfixturevalue(layout)
    if layout == "archives":
        (root / f"{KIT}.tar.gz").write_bytes(kit_tar(truth=truth))
    else:
        files(root, kit_files(truth=truth))
    message = complaint(root)
    assert "7 images" in message
    assert f"ground truth lists {len(truth)}" in message


@pytest.mark.parametrize("unknown", [4, 99, 0, -1])
def test_a_ground_truth_with_an_unknown_id_is_refused(complaint, archives, unknown):
    (archives / f"{KIT}.tar.gz").write_bytes(kit_tar(truth=[*TRUTH[:-1], unknown]))
    assert f"unknown ids, such as {unknown}" in complaint(archives)


def test_a_ground_truth_without_numbers_is_an_error_that_names_the_folder(complaint, archives):
    (archives / f"{KIT}.tar.gz").write_bytes(kit_tar(truth=["one", "two"]))
    assert f"development kit in {archives}" in complaint(archives)


def test_validation_images_of_a_class_without_training_images_are_refused(complaint, unpacked):
    shutil.rmtree(unpacked / "train" / "n02000002")
    message = complaint(unpacked)
    assert "n02000002" in message
    assert "n01000001" not in message


def test_an_error_names_a_class_that_only_one_split_has(complaint, class_folders):
    shutil.rmtree(class_folders / "val" / "n02000002")
    assert "n02000002" in complaint(class_folders)


def test_a_class_of_the_kit_with_a_tab_in_its_name_is_refused(complaint, archives, monkeypatch):
    monkeypatch.setitem(WORDS, "n01000001", "gold\tfish")
    (archives / f"{KIT}.tar.gz").write_bytes(kit_tar())
    message = complaint(archives)
    assert "'gold\\tfish'" in message
    assert "meta.mat" in message

"""ImageNet's archives in small: three classes whose order in meta.mat is not that of their WordNet ids."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.io import savemat

from resnet import settings
from resnet.datasets import load
from resnet.datasets.source import MissingData
from resnet.errors import UserError

TRAIN_TAR = "ILSVRC2012_img_train.tar"
VALIDATION_TAR = "ILSVRC2012_img_val.tar"
KIT = "ILSVRC2012_devkit_t12"

WORDS = {"n03000003": "tench, Tinca tinca", "n01000001": "goldfish", "n02000002": "Siamese cat, Siamese"}
IDS = dict(enumerate(WORDS, start=1))  # as in meta.mat: not sorted
TRUTH = [2, 1, 1, 3, 2, 2, 3]
TRAIN = {
    f"{wordnet_id}_{number * 7}.JPEG": f"{wordnet_id} {number}".encode() * (100 * number)
    for wordnet_id in WORDS
    for number in range(4)  # the first of each class has no content at all
}
VALIDATION = {
    f"ILSVRC2012_val_{number:08d}.JPEG": f"{IDS[truth]}, the {number}th".encode() * 40
    for number, truth in enumerate(TRUTH, start=1)
}


def tar(contents: Iterable[tuple[str, bytes]], mode: str = "w", **options) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode=mode, **options) as file:
        for name, content in contents:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def train_tar(**options) -> bytes:
    inner = {
        wordnet_id: tar(((name, content) for name, content in TRAIN.items() if name.startswith(wordnet_id)), **options)
        for wordnet_id in WORDS
    }
    return tar(((f"{wordnet_id}.tar", content) for wordnet_id, content in inner.items()), **options)


def validation_tar() -> bytes:
    return tar(reversed(VALIDATION.items()))


def meta_mat(compressed: bool = False) -> bytes:
    """As the real one: the classes' ids first, then groups of classes that have ids too, but no images."""
    fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height")
    synsets = np.zeros((5, 1), [(field, object) for field in fields])
    for number, wordnet_id in IDS.items():
        synsets[number - 1, 0] = (number, wordnet_id, WORDS[wordnet_id], "a gloss", 0, np.zeros((1, 0)), 0)
    synsets[3, 0] = (4, "n00000004", "fish", "a gloss", 2, [1, 2], 1)
    synsets[4, 0] = (5, "n00000005", "animal", "a gloss", 2, [3, 4], 2)
    file = io.BytesIO()
    savemat(file, {"synsets": synsets}, do_compression=compressed)
    return file.getvalue()


def kit_files(meta: bytes | None = None, truth: Iterable[object] = TRUTH) -> dict[str, bytes]:
    return {
        f"{KIT}/readme.txt": b"about the kit",
        f"{KIT}/data/meta.mat": meta_mat() if meta is None else meta,
        f"{KIT}/data/ILSVRC2012_validation_ground_truth.txt": "".join(f"{number}\n" for number in truth).encode(),
    }


def kit_tar(**options) -> bytes:
    return tar(kit_files(**options).items(), "w:gz")


@pytest.fixture
def archives(tmp_path, files) -> Path:
    return files(
        tmp_path / "archives",
        {TRAIN_TAR: train_tar(), VALIDATION_TAR: validation_tar(), f"{KIT}.tar.gz": kit_tar()},
    )


@pytest.fixture
def unpacked(tmp_path, files) -> Path:
    """Class folders to train on, a folder of files to validate, and the kit's folder."""
    root = tmp_path / "unpacked"
    files(root, {f"train/{name[:9]}/{name}": content for name, content in TRAIN.items()})
    files(root, {f"val/{name}": content for name, content in VALIDATION.items()})
    return files(root, kit_files())


@pytest.fixture
def class_folders(tmp_path, files) -> Path:
    """Class folders on both sides, and no kit."""
    root = tmp_path / "class folders"
    files(root, {f"train/{name[:9]}/{name}": content for name, content in TRAIN.items()})
    return files(
        root,
        {f"val/{IDS[truth]}/{name}": content for (name, content), truth in zip(VALIDATION.items(), TRUTH, strict=True)},
    )


@pytest.fixture
def mixed(unpacked, archives) -> Path:
    """An archive to train on, and a folder of files to validate."""
    shutil.copy(archives / TRAIN_TAR, unpacked)
    shutil.rmtree(unpacked / "train")
    return unpacked


@pytest.fixture
def archive_and_class_folders(class_folders, archives) -> Path:
    shutil.copy(archives / TRAIN_TAR, class_folders)
    shutil.rmtree(class_folders / "train")
    return class_folders


LAYOUTS = ["archives", "unpacked", "class_folders", "mixed", "archive_and_class_folders"]


@pytest.fixture
def complaint(dataset_of):
    def make(root: Path, **values) -> str:
        with pytest.raises(UserError) as caught:
            dataset_of("imagenet", root, **values)
        return str(caught.value)

    return make


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_are_positions_among_the_sorted_wordnet_ids(dataset_of, layout, request):
    loaded = dataset_of("imagenet", request.getfixturevalue(layout))
    assert [identifier for identifier, _ in loaded.classes] == ["n01000001", "n02000002", "n03000003"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_image_is_found_once_with_its_class_and_its_very_bytes(dataset_of, layout, request):
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
def test_classes_are_called_by_the_kits_words(dataset_of, layout, request):
    loaded = dataset_of("imagenet", request.getfixturevalue(layout))
    assert loaded.classes == sorted(WORDS.items())


@pytest.mark.parametrize("layout", ["class_folders", "archive_and_class_folders"])
def test_classes_are_called_by_their_ids_where_there_is_no_kit(dataset_of, layout, request):
    loaded = dataset_of("imagenet", request.getfixturevalue(layout))
    assert loaded.classes == [(wordnet_id, wordnet_id) for wordnet_id in sorted(WORDS)]


def test_images_in_an_archive_are_named_without_its_folders(dataset_of, archives):
    archives.joinpath(VALIDATION_TAR).write_bytes(tar((f"./val/{name}", c) for name, c in VALIDATION.items()))
    loaded = dataset_of("imagenet", archives)
    assert [loaded.validation.image(i).filename for i in range(len(TRUTH))] == list(VALIDATION)
    assert [loaded.validation.image(i).read() for i in range(len(TRUTH))] == list(VALIDATION.values())


def test_folders_in_an_archive_are_no_images(dataset_of, archives):
    for name in (TRAIN_TAR, VALIDATION_TAR):
        with tarfile.open(archives / name, "a") as archive:
            folder = tarfile.TarInfo("./a folder")
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
    loaded = dataset_of("imagenet", archives)
    assert (len(loaded.classes), len(loaded.train), len(loaded.validation)) == (3, len(TRAIN), len(VALIDATION))


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_every_tar_dialect_are_read(dataset_of, archives, kind):
    long = {f"{'very-' * 30}{wordnet_id}_1.JPEG": wordnet_id.encode() * 99 for wordnet_id in WORDS}
    if kind == tarfile.USTAR_FORMAT:
        long = {name[-50:]: content for name, content in long.items()}
    inner = [(f"{name[-16:-7]}.tar", tar([(name, content)], format=kind)) for name, content in long.items()]
    (archives / TRAIN_TAR).write_bytes(tar(inner, format=kind))
    loaded = dataset_of("imagenet", archives)
    assert {loaded.train.image(i).filename: loaded.train.image(i).read() for i in range(3)} == long


@given(sizes=st.lists(st.integers(0, 1600), min_size=1, max_size=6))
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=30)
def test_images_of_any_size_are_read_from_inside_an_archive_exactly(sizes, tmp_path_factory):
    root = tmp_path_factory.mktemp("imagenet")
    contents = {f"image-{i}.JPEG": bytes([i + 1]) * size for i, size in enumerate(sizes)}
    for wordnet_id in WORDS:
        (root / "val" / wordnet_id).mkdir(parents=True)
        (root / "val" / wordnet_id / "one.JPEG").write_bytes(b"one")
    (root / TRAIN_TAR).write_bytes(tar((f"{wordnet_id}.tar", tar(contents.items())) for wordnet_id in WORDS))
    train = load(settings.Dataset(source="imagenet"), root, root).train
    assert [train.image(i).read() for i in range(len(train))] == list(contents.values()) * 3


def test_a_kit_of_compressed_variables_is_read_alike(dataset_of, archives):
    (archives / f"{KIT}.tar.gz").write_bytes(kit_tar(meta=meta_mat(compressed=True)))
    assert dataset_of("imagenet", archives).classes == sorted(WORDS.items())


@pytest.mark.parametrize("layout", ["archives", "unpacked"])
def test_the_fingerprint_is_the_same_wherever_the_images_lie(source_of, layout, request, tmp_path):
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
def test_a_missing_archive_is_missing_data_and_named_with_the_folder_that_would_do(source_of, archives, missing):
    (archives / missing).unlink()
    with pytest.raises(MissingData) as caught:
        source_of("imagenet", archives)
    assert missing in str(caught.value)
    assert str(archives) in str(caught.value)
    assert ("train" if missing == TRAIN_TAR else "val") in str(caught.value)


@pytest.mark.parametrize("layout", ["archives", "unpacked"])
def test_validation_images_without_classes_need_the_kit_and_say_so(complaint, layout, request):
    root = request.getfixturevalue(layout)
    (root / f"{KIT}.tar.gz").unlink(missing_ok=True)
    shutil.rmtree(root / KIT, ignore_errors=True)
    message = complaint(root)
    assert f"{KIT}.tar.gz" in message
    assert str(root) in message


@pytest.mark.parametrize("name", [TRAIN_TAR, VALIDATION_TAR])
def test_an_archive_cut_short_anywhere_is_refused(complaint, archives, name):
    whole = (archives / name).read_bytes()
    with tarfile.open(archives / name) as archive:
        last = archive.getmembers()[-1]
    for length in range(0, last.offset_data + last.size, 251):
        (archives / name).write_bytes(whole[:length])
        assert complaint(archives)


@pytest.mark.parametrize("name", [TRAIN_TAR, VALIDATION_TAR])
@pytest.mark.parametrize("where", ["in the middle of a file", "between two files"])
def test_an_archive_cut_short_is_named(complaint, archives, name, where):
    with tarfile.open(archives / name) as archive:
        second = archive.getmembers()[1]
    end = second.offset_data + 100 if where == "in the middle of a file" else second.offset
    (archives / name).write_bytes((archives / name).read_bytes()[:end])
    assert str(archives / name) in complaint(archives)


def test_an_archive_with_a_damaged_header_inside_does_not_lose_images_without_a_word(complaint, archives):
    whole = (archives / TRAIN_TAR).read_bytes()
    last_of_the_first_class = whole.find(b"n03000003_21.JPEG")
    damaged = bytearray(whole)
    damaged[last_of_the_first_class + 148] ^= 0xFF  # the header's checksum
    (archives / TRAIN_TAR).write_bytes(damaged)
    assert str(archives / TRAIN_TAR) in complaint(archives)


@pytest.mark.parametrize("name", [TRAIN_TAR, VALIDATION_TAR])
@pytest.mark.parametrize("content", [b"", b"no archive" * 1000, bytes(10240)])
def test_a_file_that_is_no_archive_is_named(complaint, archives, name, content):
    (archives / name).write_bytes(content)
    assert str(archives / name) in complaint(archives)


def test_a_class_without_images_inside_the_archive_is_named(complaint, archives):
    inner = [(f"{wordnet_id}.tar", tar([("a.JPEG", b"a")])) for wordnet_id in WORDS]
    (archives / TRAIN_TAR).write_bytes(tar([*inner, ("n04000004.tar", tar([]))]))
    message = complaint(archives)
    assert "n04000004.tar" in message
    assert str(archives / TRAIN_TAR) in message


def test_a_kit_cut_short_anywhere_is_a_clear_error(outcome_of, archives):
    path = archives / f"{KIT}.tar.gz"
    whole = path.read_bytes()
    for length in range(0, len(whole), 29):
        path.write_bytes(whole[:length])
        outcome = outcome_of("imagenet", archives)
        if isinstance(outcome, str):
            assert str(archives) in outcome
        else:  # only the archive's padding is missing
            assert outcome.classes == sorted(WORDS.items())


def test_a_kit_with_a_damaged_byte_is_a_clear_error_and_never_another_label(outcome_of, archives):
    path = archives / f"{KIT}.tar.gz"
    whole = kit_tar(meta=meta_mat(compressed=True))
    for position in range(0, len(whole), 11):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        outcome = outcome_of("imagenet", archives)
        if isinstance(outcome, str):
            assert str(archives) in outcome
        else:  # the archive's time stamp, say, is of no consequence
            assert outcome.classes == sorted(WORDS.items())
            assert [outcome.classes[label][0] for label in outcome.validation.labels] == [IDS[t] for t in TRUTH]


def test_a_label_that_changed_on_its_way_is_noticed_by_the_kits_own_checksum(complaint, archives):
    plain = tar(kit_files().items(), "w:gz", compresslevel=0)
    truth = b"".join(b"%d\n" % number for number in TRUTH)
    assert plain.count(truth) == 1
    (archives / f"{KIT}.tar.gz").write_bytes(plain.replace(truth, truth.replace(b"3", b"2")))
    assert f"development kit in {archives}" in complaint(archives)


@pytest.mark.parametrize("meta", [b"", b"garbage" * 99, meta_mat()[:100], meta_mat()[:-9], meta_mat(True)[:-9]])
@pytest.mark.parametrize("layout", ["archives", "unpacked"])
def test_a_damaged_meta_mat_is_a_clear_error(complaint, files, layout, request, meta):
    root = request.getfixturevalue(layout)
    if layout == "archives":
        (root / f"{KIT}.tar.gz").write_bytes(kit_tar(meta=meta))
    else:
        files(root, kit_files(meta=meta))
    assert f"development kit in {root}" in complaint(root)


def test_a_meta_mat_without_synsets_is_a_clear_error(complaint, archives):
    file = io.BytesIO()
    savemat(file, {"something": np.zeros(3)})
    (archives / f"{KIT}.tar.gz").write_bytes(kit_tar(meta=file.getvalue()))
    assert f"development kit in {archives}" in complaint(archives)


def test_a_kit_without_its_files_is_a_clear_error(complaint, archives):
    (archives / f"{KIT}.tar.gz").write_bytes(tar([(f"{KIT}/readme.txt", b"")], "w:gz"))
    assert f"development kit in {archives}" in complaint(archives)


@pytest.mark.parametrize("layout", ["archives", "unpacked"])
@pytest.mark.parametrize("truth", [TRUTH[:-1], [*TRUTH, 1], []])
def test_a_ground_truth_of_another_length_is_told_with_both_numbers(complaint, files, layout, request, truth):
    root = request.getfixturevalue(layout)
    if layout == "archives":
        (root / f"{KIT}.tar.gz").write_bytes(kit_tar(truth=truth))
    else:
        files(root, kit_files(truth=truth))
    message = complaint(root)
    assert "7 images" in message
    assert f"ground truth is of {len(truth)}" in message


@pytest.mark.parametrize("stranger", [4, 99, 0, -1])
def test_a_ground_truth_of_ids_that_are_no_class_is_refused(complaint, archives, stranger):
    (archives / f"{KIT}.tar.gz").write_bytes(kit_tar(truth=[*TRUTH[:-1], stranger]))
    assert f"unknown ids, such as {stranger}" in complaint(archives)


def test_a_ground_truth_of_something_else_is_a_clear_error(complaint, archives):
    (archives / f"{KIT}.tar.gz").write_bytes(kit_tar(truth=["one", "two"]))
    assert f"development kit in {archives}" in complaint(archives)


def test_validation_images_of_a_class_without_training_images_are_refused(complaint, unpacked):
    shutil.rmtree(unpacked / "train" / "n02000002")
    message = complaint(unpacked)
    assert "n02000002" in message
    assert "n01000001" not in message


def test_class_folders_that_differ_are_named(complaint, class_folders):
    shutil.rmtree(class_folders / "val" / "n02000002")
    assert "n02000002" in complaint(class_folders)


def test_hidden_files_are_no_validation_images(dataset_of, files, unpacked):
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
def test_another_number_than_the_recipe_expects_is_told_with_both(complaint, layout, request, expected, found):
    root = request.getfixturevalue(layout)
    message = complaint(root, **expected)
    assert found in message
    assert str(root) in message

"""idx files: found, checked and, if there are none, downloaded."""

from __future__ import annotations

import gzip
import hashlib
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from resnet.datasets import idx
from resnet.datasets.source import MissingData
from resnet.errors import UserError

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = idx.FILES


def idx_file(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        TRAIN_IMAGES: random.integers(0, 256, (30, 5, 7), np.uint8),
        TRAIN_LABELS: np.arange(30, dtype=np.uint8) % 4,
        TEST_IMAGES: random.integers(0, 256, (12, 5, 7), np.uint8),
        TEST_LABELS: np.arange(12, dtype=np.uint8) % 3,
    }


@pytest.fixture
def plain(arrays, tmp_path, files) -> Path:
    return files(tmp_path / "plain", {name: idx_file(array) for name, array in arrays.items()})


@pytest.fixture
def zipped(arrays, tmp_path, files) -> Path:
    return files(tmp_path / "zipped", {f"{name}.gz": gzip.compress(idx_file(a)) for name, a in arrays.items()})


@pytest.fixture(autouse=True)
def nowhere_else(tmp_path, monkeypatch):
    """Hide Debian's package of Fashion-MNIST, which may be installed where these tests run."""
    monkeypatch.setattr(idx, "DEBIAN", tmp_path / "debian")


@pytest.fixture
def server(zipped, monkeypatch):
    """A download server whose zipped files have the expected checksums; tests may change its `answers`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, content, declared = self.server.answers.get(self.path[1:], (404, b"", 0))
            self.send_response(status)
            self.send_header("Content-Length", str(declared))
            self.end_headers()
            self.wfile.write(content)
            self.server.asked.append(self.path[1:])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        contents = {path.name: path.read_bytes() for path in zipped.iterdir()}
        serving.answers = {name: (200, content, len(content)) for name, content in contents.items()}
        serving.asked = []
        official = {name[: -len(".gz")]: hashlib.md5(content).hexdigest() for name, content in contents.items()}
        monkeypatch.setitem(idx.MD5, "fashion-mnist", official)
        monkeypatch.setitem(idx.DOWNLOADS, "fashion-mnist", f"http://127.0.0.1:{serving.server_port}")
        monkeypatch.setenv("no_proxy", "*")
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def pixels(image) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(image.read(), np.uint8), cv2.IMREAD_UNCHANGED)


def complaint(dataset_of, folder: Path | None, **values) -> str:
    with pytest.raises(UserError) as caught:
        dataset_of("idx", folder, **values)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["plain", "zipped"])
def test_every_image_is_read_with_its_label(dataset_of, arrays, kind, request):
    loaded = dataset_of("idx", request.getfixturevalue(kind))
    for split, images, labels in (
        (loaded.train, TRAIN_IMAGES, TRAIN_LABELS),
        (loaded.validation, TEST_IMAGES, TEST_LABELS),
    ):
        np.testing.assert_array_equal(split.labels, arrays[labels])
        np.testing.assert_array_equal([pixels(split.image(i)) for i in range(len(split))], arrays[images])
        assert len({split.image(i).filename for i in range(len(split))}) == len(split)


def test_plain_and_zipped_files_of_the_same_images_have_the_same_fingerprint(source_of, plain, zipped):
    assert source_of("idx", plain).fingerprint() == source_of("idx", zipped).fingerprint()


def test_a_changed_pixel_changes_the_fingerprint(source_of, plain):
    before = source_of("idx", plain).fingerprint()
    content = bytearray((plain / TEST_IMAGES).read_bytes())
    content[-1] ^= 1
    (plain / TEST_IMAGES).write_bytes(content)
    assert source_of("idx", plain).fingerprint() != before


def test_classes_without_names_are_numbered(dataset_of, plain):
    assert dataset_of("idx", plain).classes == [(str(number), str(number)) for number in range(4)]


def test_classes_have_the_recipes_names(dataset_of, plain):
    loaded = dataset_of("idx", plain, class_names=["shirt", "bag", "ankle boot", "coat"])
    assert loaded.classes == [("0", "shirt"), ("1", "bag"), ("2", "ankle boot"), ("3", "coat")]


def test_fewer_names_than_classes_are_refused(dataset_of, plain):
    message = complaint(dataset_of, plain, class_names=["a", "b", "c"])
    assert "dataset.class_names" in message
    assert "3 names" in message
    assert "4 classes" in message


@pytest.mark.parametrize("name", idx.FILES)
def test_a_missing_file_raises_missing_data_with_its_name(source_of, plain, name):
    (plain / name).unlink()
    with pytest.raises(MissingData, match="--data") as caught:
        source_of("idx", plain)
    assert name in str(caught.value)
    assert str(plain) in str(caught.value)


@pytest.mark.parametrize("name", idx.FILES)
@pytest.mark.parametrize("length", [0, 3, 4, 7, 12, -1])
def test_an_error_names_a_truncated_file(dataset_of, plain, name, length):
    content = (plain / name).read_bytes()
    (plain / name).write_bytes(content[:length])
    assert str(plain / name) in complaint(dataset_of, plain)


@pytest.mark.parametrize("name", idx.FILES)
def test_an_error_names_a_truncated_zipped_file(dataset_of, zipped, name):
    path = zipped / f"{name}.gz"
    content = path.read_bytes()
    for length in (0, 5, 12, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert str(zipped / name) in complaint(dataset_of, zipped)


@pytest.mark.parametrize("name", idx.FILES)
def test_a_changed_byte_in_a_zipped_file_is_an_error_or_does_not_matter(outcome_of, zipped, arrays, name):
    path = zipped / f"{name}.gz"
    content = path.read_bytes()
    for position in range(0, len(content), max(len(content) // 20, 1)):
        changed = bytearray(content)
        changed[position] ^= 0xFF
        path.write_bytes(changed)
        outcome = outcome_of("idx", zipped)
        if isinstance(outcome, str):
            assert str(zipped / name) in outcome
        else:  # such as the header's timestamp
            np.testing.assert_array_equal(outcome.train.labels, arrays[TRAIN_LABELS])


def test_the_fingerprint_of_a_corrupt_zipped_file_raises_a_user_error(source_of, zipped):
    path = zipped / f"{TRAIN_IMAGES}.gz"
    content = bytearray(path.read_bytes())
    content[10] = 0xFF  # the first byte of the compressed data: an invalid block type
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        source_of("idx", zipped).fingerprint()
    assert str(zipped / TRAIN_IMAGES) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "other"), [(TRAIN_IMAGES, TRAIN_LABELS), (TRAIN_LABELS, TRAIN_IMAGES), (TEST_IMAGES, TEST_LABELS)]
)
def test_an_error_names_a_file_of_the_wrong_kind(dataset_of, plain, name, other):
    (plain / name).write_bytes((plain / other).read_bytes())
    assert str(plain / name) in complaint(dataset_of, plain)


@pytest.mark.parametrize("magic", [b"\x00\x00\x0d\x03", b"\x1f\x8b\x08\x00", b"\x89PNG"])
def test_an_error_names_a_file_of_another_format(dataset_of, plain, magic):
    content = (plain / TRAIN_IMAGES).read_bytes()
    (plain / TRAIN_IMAGES).write_bytes(magic + content[4:])
    assert f"{plain / TRAIN_IMAGES} is not an idx file" in complaint(dataset_of, plain)


def test_an_error_names_the_differing_numbers_of_images_and_labels(dataset_of, plain, arrays):
    (plain / TRAIN_LABELS).write_bytes(idx_file(arrays[TRAIN_LABELS][:-1]))
    message = complaint(dataset_of, plain)
    assert "30 images" in message
    assert "29 labels" in message


def test_files_without_images_are_refused(dataset_of, plain, arrays):
    (plain / TEST_IMAGES).write_bytes(idx_file(arrays[TEST_IMAGES][:0]))
    (plain / TEST_LABELS).write_bytes(idx_file(arrays[TEST_LABELS][:0]))
    assert "0 images" in complaint(dataset_of, plain)


def test_debians_package_is_found_without_a_data_folder(dataset_of, plain, tmp_path):
    (tmp_path / "debian").mkdir()
    plain.rename(tmp_path / "debian" / "fashion-mnist")
    assert len(dataset_of("idx", name="fashion-mnist").train) == 30


def test_a_given_data_folder_is_used_instead_of_debians_package(source_of, plain, tmp_path):
    (tmp_path / "debian").mkdir()
    plain.rename(tmp_path / "debian" / "fashion-mnist")
    with pytest.raises(MissingData):
        source_of("idx", tmp_path / "empty", name="fashion-mnist")


def test_a_data_set_without_a_download_raises_missing_data_that_names_the_folders_tried(source_of, tmp_path):
    with pytest.raises(MissingData, match="--data") as caught:
        source_of("idx", name="kmnist")
    assert str(tmp_path / "debian" / "kmnist") in str(caught.value)


def test_missing_files_are_downloaded_once(dataset_of, server, arrays):
    for _ in range(2):
        loaded = dataset_of("idx", name="fashion-mnist")
        np.testing.assert_array_equal(loaded.train.labels, arrays[TRAIN_LABELS])
        np.testing.assert_array_equal(pixels(loaded.validation.image(3)), arrays[TEST_IMAGES][3])
    assert sorted(server.asked) == sorted(f"{name}.gz" for name in idx.FILES)


def test_there_is_no_fingerprint_before_the_download(source_of, dataset_of, server, plain):
    assert source_of("idx", name="fashion-mnist").fingerprint() is None
    dataset_of("idx", name="fashion-mnist")
    assert source_of("idx", name="fashion-mnist").fingerprint() == source_of("idx", plain).fingerprint()


def test_a_download_with_the_wrong_checksum_is_refused_and_not_kept(dataset_of, server, tmp_path):
    name = f"{TEST_LABELS}.gz"
    forged = gzip.compress(idx_file(np.zeros(12, np.uint8)))
    server.answers[name] = (200, forged, len(forged))
    message = complaint(dataset_of, None, name="fashion-mnist")
    assert f"/{name}" in message
    assert "checksum" in message
    assert not (tmp_path / "artifacts" / "downloads" / "fashion-mnist" / name).exists()


def test_a_refused_download_can_be_tried_again(dataset_of, server):
    correct = server.answers[f"{TEST_LABELS}.gz"]
    server.answers[f"{TEST_LABELS}.gz"] = (200, b"", 0)
    complaint(dataset_of, None, name="fashion-mnist")
    server.answers[f"{TEST_LABELS}.gz"] = correct
    assert len(dataset_of("idx", name="fashion-mnist").train) == 30


def test_an_interrupted_download_is_an_error_with_the_address_and_a_remedy(dataset_of, server):
    name = f"{TRAIN_IMAGES}.gz"
    _, content, length = server.answers[name]
    server.answers[name] = (200, content[:50], length)
    message = complaint(dataset_of, None, name="fashion-mnist")
    assert f"/{name}" in message
    assert "--data" in message


def test_a_file_missing_on_the_server_is_an_error_with_the_address_and_a_remedy(dataset_of, server):
    del server.answers[f"{TRAIN_LABELS}.gz"]
    message = complaint(dataset_of, None, name="fashion-mnist")
    assert f"/{TRAIN_LABELS}.gz" in message
    assert "404" in message
    assert "--data" in message


def test_an_unreachable_server_is_an_error_with_the_address_and_a_remedy(dataset_of, monkeypatch):
    with socket.socket() as bound:  # to a port without a listener
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        monkeypatch.setitem(idx.DOWNLOADS, "fashion-mnist", address)
        monkeypatch.setenv("no_proxy", "*")
        message = complaint(dataset_of, None, name="fashion-mnist")
    assert address in message
    assert "refused" in message
    assert "--data" in message


def test_an_error_names_a_downloads_folder_that_is_not_writable(dataset_of, server, tmp_path):
    (tmp_path / "artifacts").write_bytes(b"a file where the folder should be")
    assert str(tmp_path / "artifacts") in complaint(dataset_of, None, name="fashion-mnist")

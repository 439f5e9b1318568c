"""Weights of Keras: the same logits, in each kind of file that its versions write."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from model.comparison import relative_difference
from weights.torchvision_logits import images

from resnet.weights.keras_names import keras_2016_table, keras_table
from resnet.weights.sources import read_source

SAME_LOGITS = 1e-4  # measured: 4.2e-7
KINDS = ("h5", "keras", "weights.h5")
OF_KERAS_1 = {"kernel": "W", "bias": "b", "moving_mean": "running_mean", "moving_variance": "running_std"}


@pytest.fixture(scope="module")
def source(keras_files):
    return read_source(keras_files["h5"])


def test_logits_are_those_of_keras(keras_network, source, network_of):
    expected = keras_network(keras.applications.resnet.preprocess_input(images().astype(np.float32))).numpy()
    logits, _ = network_of(source)(images(), training=False)
    assert relative_difference(logits.numpy(), expected) < SAME_LOGITS


def test_what_is_known_of_the_network(source):
    assert (source.layout, source.outputs, source.classes) == ("Keras", 7, [])
    assert source.settings == {"depth": 50, "stride_in": "1x1", "normalization": "caffe", "epsilon": 1.001e-5}


def same_tensors(path: Path, source) -> bool:
    tensors = read_source(path).tensors
    return tensors.keys() == source.tensors.keys() and all(
        np.array_equal(tensors[n], source.tensors[n]) for n in tensors
    )


@pytest.mark.parametrize("kind", ["keras", "weights.h5"])
def test_every_kind_of_file_has_the_same_tensors(kind, keras_files, source):
    assert same_tensors(keras_files[kind], source)


def test_published_files_of_keras_2_have_the_same_tensors(keras_files, source, tmp_path):
    """Groups by layer at the top, and a number after each name: conv1_conv/conv1_conv/kernel:0."""
    with h5py.File(keras_files["h5"]) as model, h5py.File(tmp_path / "published.h5", "w") as published:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                published[f"{name}:0"] = item[()]

        model["model_weights"].visititems(copy)
    assert same_tensors(tmp_path / "published.h5", source)


def test_the_first_published_file_has_the_same_tensors(keras_files, source, tmp_path):
    """Of 2016, with He et al.'s names of layers and Keras 1's of variables: bn2a_branch1/bn2a_branch1_running_std:0."""
    with h5py.File(keras_files["h5"]) as model, h5py.File(tmp_path / "2016.h5", "w") as published:
        today = keras_table(50)
        for ours, entry in keras_2016_table(50).items():
            for name, old in ((today[ours].name, entry.name), (today[ours].minus, entry.minus)):
                if name:
                    layer, variable = old.split("/")
                    data = model[f"model_weights/{name.split('/')[0]}/{name}"]
                    published.create_dataset(f"{layer}/{layer}_{OF_KERAS_1.get(variable, variable)}:0", data=data)
    assert same_tensors(tmp_path / "2016.h5", source)


def without_names(path: Path) -> Path:
    """An HDF5 file of Keras 3, as its early versions wrote it."""
    with h5py.File(path, "r+") as file:
        for group in file["layers"].values():
            group["vars"].attrs.pop("name")
    return path


def test_a_file_without_names_of_layers_is_refused_with_the_way_on(keras_files, tmp_path, refusal):
    path = without_names(Path(shutil.copy(keras_files["weights.h5"], tmp_path)))
    assert "does not name its layers, as early versions of Keras 3 did not" in refusal(path)
    assert 'model.save("resnet.keras")' in refusal(path)


def test_an_archive_without_names_of_layers_takes_them_from_its_configuration(keras_files, source, tmp_path):
    with zipfile.ZipFile(keras_files["keras"]) as archive:
        archive.extractall(tmp_path)
    without_names(tmp_path / "model.weights.h5")
    with zipfile.ZipFile(tmp_path / "early.keras", "w") as early:
        for name in ("config.json", "model.weights.h5"):
            early.write(tmp_path / name, name)
    assert same_tensors(tmp_path / "early.keras", source)


def archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.mark.parametrize("config", [b"", b"[]", b'{"config": {"layers": [{"class_name": "Dense"}]}}', b"[" * 100_000])
def test_an_archive_whose_configuration_makes_no_sense_is_refused(config, tmp_path, refusal):
    path = archive(tmp_path / "resnet.keras", {"config.json": config, "model.weights.h5": b""})
    assert "its config.json does not list the layers of a model" in refusal(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_with_corrupt_members_is_refused_however_they_are_compressed(compression, tmp_path, refusal):
    members = {"config.json": b"[1, 2]" * 1000, "model.weights.h5": b""}
    path = archive(tmp_path / "resnet.keras", members, compression)
    content = bytearray(path.read_bytes())
    content[60:90] = b"\xff" * 30
    path.write_bytes(content)
    assert "is cut short or corrupt: config.json in it cannot be read" in refusal(path)


def test_an_archive_that_unpacks_to_more_than_a_network_is_refused(tmp_path, refusal):
    path = archive(tmp_path / "resnet.keras", {"config.json": b" " * (17 << 20), "model.weights.h5": b""})
    assert "config.json in it is too large" in refusal(path)


def test_a_damaged_archive_is_refused(keras_files, tmp_path, refusal):
    content = bytearray(keras_files["keras"].read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "resnet.keras").write_bytes(content)
    assert "model.weights.h5 in it cannot be read" in refusal(tmp_path / "resnet.keras")
    (tmp_path / "resnet.keras").write_bytes(content[: len(content) // 2])
    assert "is not a complete zip" in refusal(tmp_path / "resnet.keras")


@pytest.fixture
def harmed(keras_files, tmp_path):
    """harmed("conv1_conv/kernel", link): the published file, with a tensor replaced by what the function puts there."""

    def make(name: str, replace) -> Path:
        path = Path(shutil.copy(keras_files["h5"], tmp_path))
        with h5py.File(path, "r+") as file:
            group = file[f"model_weights/{name.split('/')[0]}/{name.split('/')[0]}"]
            del group[name.split("/")[1]]
            if replace:
                replace(group, name.split("/")[1])
        return path

    return make


def test_links_are_not_followed(harmed, keras_files, refusal):
    """A link could lead out of the file, to anything that the reader may read."""
    there = "/model_weights/conv1_conv/conv1_conv/kernel"
    for link in (h5py.ExternalLink(str(keras_files["h5"]), there), h5py.SoftLink(there)):
        path = harmed("conv1_conv/kernel", lambda group, name, link=link: group.__setitem__(name, link))
        assert "conv1_conv/kernel missing" in refusal(path)


def test_numbers_that_are_in_another_file_are_not_read(harmed, tmp_path, refusal):
    (tmp_path / "elsewhere").write_bytes(b"\0" * 256)
    path = harmed(
        "conv1_bn/beta",
        lambda group, name: group.create_dataset(name, (64,), "f4", external=[(str(tmp_path / "elsewhere"), 0, 256)]),
    )
    assert "is not plain numbers in this file" in refusal(path)


def test_a_shape_that_would_fill_the_memory_is_refused_before_it_is_read(harmed, refusal):
    path = harmed("predictions/bias", lambda group, name: group.create_dataset(name, (10**11,), "f4", chunks=(1000,)))
    assert "predictions/bias is [100000000000], not [classes], 1 to 100,000" in refusal(path)
    path = harmed("conv1_bn/beta", lambda group, name: group.create_dataset(name, (10**6,) * 3, "f4", chunks=(1, 9, 9)))
    assert "conv1_bn/beta is [1000000, 1000000, 1000000], not [64]" in refusal(path)


def test_names_that_are_not_utf8_are_shown(harmed, refusal):
    path = harmed("conv1_bn/beta", lambda group, name: group.create_dataset(b"b\xffta", data=np.ones(64)))
    assert r"conv1_bn/b\xffta left over" in refusal(path)


def test_text_in_the_place_of_numbers_is_refused(harmed, refusal):
    path = harmed("conv1_bn/beta", lambda group, name: group.create_dataset(name, data=["a"] * 64))
    assert "numbers that are not floating point: conv1_bn/beta is object" in refusal(path)
    path = harmed("conv1_bn/beta", lambda group, name: group.create_dataset(name, data=h5py.Empty("f4")))
    assert "conv1_bn/beta is [], not [64]" in refusal(path)


def test_a_file_without_the_classifier_is_refused(harmed, refusal):
    path = harmed("predictions/bias", None)
    assert "predictions/bias missing" in refusal(path)
    with h5py.File(path, "r+") as file:
        del file["model_weights/predictions"]
    assert "has no classifier (predictions/kernel, predictions/bias). Give the file of the whole network" in (
        refusal(path)
    )


def test_a_file_that_is_cut_short_is_refused(keras_files, tmp_path, refusal):
    (tmp_path / "short.h5").write_bytes(keras_files["h5"].read_bytes()[:1_000_000])
    assert "is cut short or corrupt" in refusal(tmp_path / "short.h5")


def test_resnet50_v2_is_refused_with_its_own_names(tmp_path, refusal):
    names = {"conv1_conv/kernel": (7, 7, 3, 64), "conv2_block1_preact_bn/gamma": (64,), "post_bn/gamma": (2048,)}
    with h5py.File(tmp_path / "v2.h5", "w") as file:
        for name, shape in names.items():
            file[f"{name.split('/')[0]}/{name}"] = np.ones(shape, np.float32)
    message = refusal(tmp_path / "v2.h5")
    assert "is not a ResNet-50 as Keras stores it: predictions/kernel, predictions/bias, conv1_bn/gamma and" in message
    assert "conv2_block1_preact_bn/gamma, post_bn/gamma left over" in message

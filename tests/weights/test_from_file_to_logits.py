"""A file of weights and a PNG file give the logits of the package that the weights come from.

Everything is real: `python -m resnet import-weights`, a shipped recipe, and the package's own preprocessing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from model.comparison import relative_difference
from PIL import Image
from safetensors.numpy import save_file
from weights.torchvision_logits import RECORD, photograph

from resnet.__main__ import main
from resnet.classifier import load_classifier
from resnet.images.decoding import png

SAME_LOGITS = 1e-4  # measured: 7.6e-7 at most
SEVEN_CLASSES = "dataset.classes=7"


@pytest.fixture
def png_file(tmp_path) -> Path:
    path = tmp_path / "photograph.png"
    path.write_bytes(png(photograph()))
    return path


def logits_of(weights: Path, recipe: str, image: Path, *overrides: str) -> np.ndarray:
    """Import weights, and show the network an image file."""
    options = ["--recipe", recipe, "--run", "imported", "--artifacts", str(weights.parent / "artifacts")]
    records = weights.parent / "artifacts/records/seven"
    records.mkdir(parents=True)
    (records / "classes.txt").write_text("".join(f"{i}\tclass {i}\n" for i in range(7)))
    overrides = (SEVEN_CLASSES, "dataset.name=seven", *overrides)
    assert main(["import-weights", str(weights), *options, "--override", json.dumps(overrides)]) == 0
    return load_classifier(weights.parent / "artifacts/runs/imported").logits([image])[0]


@pytest.mark.parametrize("recipe", ["torchvision-resnet18-v1", "torchvision-resnet50-v2", "timm-resnet50-a1"])
def test_logits_of_a_png_are_those_of_torchvision_and_timm(recipe, state_dict, png_file):
    weights = png_file.with_name("resnet.safetensors")
    save_file(state_dict(18 if "resnet18" in recipe else 50), weights, {"format": "pt"})
    expected = np.array(json.loads(RECORD.read_text())["photograph"][recipe])
    found = logits_of(weights, recipe, png_file)
    print(f"relative difference {relative_difference(found, expected):.1e}")
    assert relative_difference(found, expected) < SAME_LOGITS


@pytest.mark.parametrize("kind", ["h5", "keras"])
def test_logits_of_a_png_are_those_of_keras(kind, keras_network, keras_files, png_file):
    weights = png_file.with_name(f"resnet.{kind}")
    weights.symlink_to(keras_files[kind])
    size = keras_network.input_shape[1]
    found = logits_of(weights, "keras-resnet50", png_file, f"evaluation.image_size={size}")
    expected = keras_network(keras_input(png_file, size)).numpy()[0]
    print(f"relative difference {relative_difference(found, expected):.1e}")
    assert relative_difference(found, expected) < SAME_LOGITS


def keras_input(path: Path, size: int) -> np.ndarray:
    """The centre of an image whose shorter side is 256/224 of `size`, as Keras's networks expect it."""
    image = keras.utils.load_img(path)
    shorter = int(size * 256 / 224)
    width, height = (int(shorter * side / min(image.size)) for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    shown = image.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
    return keras.applications.resnet.preprocess_input(np.asarray(shown, np.float32)[None])


def test_the_command_says_what_it_imported_and_how_to_go_on(state_dict, tmp_path):
    save_file(state_dict(18), tmp_path / "resnet18.safetensors", {"format": "pt"})
    ended = subprocess.run(
        [sys.executable, "-m", "resnet", "import-weights", "resnet18.safetensors", "--override", SEVEN_CLASSES],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "ResNet-18 as in torchvision or timm, 7 classes" in ended.stdout
    assert "run torchvision-resnet18-v1, recipe torchvision-resnet18-v1" in ended.stdout
    assert "how they were trained is not in the file" in ended.stdout
    assert "luigi --module pipeline Report --local-scheduler --run torchvision-resnet18-v1" in ended.stdout
    finished = tmp_path / "artifacts/runs/torchvision-resnet18-v1"
    assert all((finished / stage / "stage.json").exists() for stage in ("train", "batchnorm"))


def test_a_wrong_recipe_is_an_error_that_names_the_right_one(state_dict, tmp_path, capsys):
    save_file(state_dict(18), tmp_path / "resnet18.safetensors", {"format": "pt"})
    options = ["--recipe", "keras-resnet50", "--artifacts", str(tmp_path / "artifacts")]
    assert main(["import-weights", str(tmp_path / "resnet18.safetensors"), *options]) == 1
    message = capsys.readouterr().err
    assert "model.depth must be 18, but is 50" in message
    assert "Without --recipe, in a run of their own, these weights take recipe torchvision-resnet18-v1." in message
    assert not (tmp_path / "artifacts").exists()

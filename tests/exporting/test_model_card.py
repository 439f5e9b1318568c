"""The card beside an exported network."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from huggingface_hub import ModelCard

from resnet.classifier import load_classifier
from resnet.exporting import FORMATS
from resnet.exporting.interface import Interface
from resnet.exporting.model_card import card
from resnet.images.decoding import png
from resnet.loader.transforms import CenterCrop, show
from resnet.predictions_file import read_predictions
from resnet.report.names import readable


def snippet(text: str) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return code


@pytest.fixture(scope="module")
def interface(evaluated) -> Interface:
    return Interface(load_classifier(evaluated.run.folder))


@pytest.mark.parametrize("name", FORMATS)
def test_its_code_runs_and_answers_as_evaluate_did(evaluated, exported, name, tmp_path, monkeypatch, capsys):
    classes = dict(load_classifier(evaluated.run.folder).classes)
    row = read_predictions(evaluated.run.stage_folder("evaluate") / "predictions.csv", classes).iloc[7]
    folder = shutil.copytree(exported[name].folder, tmp_path / "export")
    shutil.copy(evaluated.run.data / "val" / row["label"] / Path(row["file"]).name, folder / "image.png")
    monkeypatch.chdir(folder)
    exec(compile(snippet((folder / "README.md").read_text()), "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(classes)
    for place, line in enumerate(printed, start=1):
        assert line.startswith(f"{readable(classes[row[f'class{place}']])}: ")
        assert float(line.rpartition(" ")[2]) == pytest.approx(row[f"probability{place}"], abs=1e-4)


@pytest.mark.parametrize("shape", [(50, 41), (41, 50), (300, 37)])
@pytest.mark.parametrize("interpolation", ["opencv-linear", "pillow-bilinear", "pillow-bicubic"])
def test_its_code_shows_images_as_the_evaluation_does(
    evaluated, exported, interface, monkeypatch, tmp_path, interpolation, shape
):
    monkeypatch.setitem(interface.facts, "interpolation", interpolation)
    code = snippet(card(evaluated, FORMATS["onnx"], interface, exported["onnx"].comparison))
    own = {}
    exec(code.split("images = ")[0], own)
    pixels = cv2.resize(np.random.default_rng(3).integers(0, 256, (9, 9, 3), np.uint8), shape)
    (tmp_path / "image.png").write_bytes(png(pixels))
    expected = np.empty((16, 16, 3), np.uint8)
    show(png(pixels), CenterCrop(20, interpolation), (), expected)
    np.testing.assert_array_equal(own["network_input"](str(tmp_path / "image.png"))[0], expected)


@pytest.mark.parametrize("name", FORMATS)
def test_its_metadata_has_the_accuracy_and_no_licence(evaluated, exported, name):
    loaded = ModelCard.load(exported[name].folder / "README.md")
    (result,) = loaded.data.eval_results
    error = evaluated.finished("evaluate")["metrics"]["views"]["1-crop"]["top1_error"]
    assert result.metric_value == pytest.approx(1 - error / 100)
    assert (loaded.data.model_name, result.dataset_name) == ("small", evaluated.run.records_name)
    assert loaded.data.license is None
    assert "No licence is stated here" in loaded.text


def test_it_states_the_result_with_its_interval_and_the_comparison(evaluated, exported):
    text = (exported["onnx"].folder / "README.md").read_text()
    view = evaluated.finished("evaluate")["metrics"]["views"]["1-crop"]
    low, high = view["top1_error_interval"]
    assert f"| {view['top1_error']:.2f} % | {low:.2f} to {high:.2f} % |" in text
    assert "On 40 validation images" in text
    assert f"evaluation: {exported['onnx'].comparison.greatest_difference:.2g}" in text
    assert "images: 8 for training, 40 for validation" in text


def test_names_from_the_data_are_text_and_no_markup(exported):
    text = (exported["onnx"].folder / "README.md").read_bytes().decode()
    assert r"\# a\*b \<i\>\|\`\$x\$ \[l\](u) : \&amp;; " in text
    assert "<i>" not in text
    assert "z\ufffdbra" in text


FILE = {"file": "/home/me/resnet_50.h5", "sha256": "ab12"}


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"imported": FILE}, r"imported from resnet\_50.h5 (SHA-256 ab12)"),
        ({"started_from": FILE | {"taken": ["stem"]}}, r"started from: resnet\_50.h5 (SHA-256 ab12)"),
        ({"started_from": {"run": "big", "sha256": "cd34"}}, "started from: run big (SHA-256 cd34)"),
    ],
)
def test_it_says_where_weights_from_elsewhere_come_from_but_not_the_folder(card_of, facts, said):
    text = card_of(facts)
    assert said in text
    assert "/home" not in text
    assert "and on the first weights" in text


def test_it_says_of_imported_weights_only_what_was_done_here(card_of):
    own, imported = card_of({}), card_of({"imported": FILE})
    for said in ("It was trained and evaluated", "8 for training", "trained at 16 pixels", "epoch", "learning rate"):
        assert said in own
        assert said not in imported
    assert "It was evaluated" in imported
    assert "images: 40 for validation" in imported
    assert "image size: evaluated at 16" in imported


@pytest.fixture
def card_of(evaluated, exported, interface, monkeypatch):
    """card_of({"imported": ...}): the card of a run with such facts about its training."""
    finished = evaluated.finished

    def make(facts: dict) -> str:
        monkeypatch.setattr(evaluated, "finished", lambda stage: finished(stage) | (facts if stage == "train" else {}))
        return card(evaluated, FORMATS["onnx"], interface, exported["onnx"].comparison)

    return make

"""What each exported file does in its own runtime."""

from __future__ import annotations

import importlib
import json
import zipfile
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from resnet.classifier import load_classifier
from resnet.exporting import FORMATS, onnx_model
from resnet.exporting.interface import Interface
from resnet.model.network import ResNet
from resnet.recipes import load_recipe
from resnet.report.names import readable

SIZES = {"image_size": 16, "shorter_side": 20, "interpolation": "opencv-linear", "network": "resnet8"}


def opened(exported, name):
    return importlib.import_module(FORMATS[name].module).opened(exported[name].folder)


@pytest.fixture(scope="module")
def classifier(evaluated):
    return load_classifier(evaluated.run.folder)


@pytest.mark.parametrize("name", FORMATS)
def test_it_agrees_with_evaluate_on_every_validation_image(exported, name):
    comparison = exported[name].comparison
    assert comparison.images == 40
    assert comparison.greatest_difference < 1e-5
    assert comparison.other_class_first == 0


@pytest.mark.parametrize("name", FORMATS)
def test_it_takes_any_number_of_images(exported, classifier, images, name):
    answer = opened(exported, name)
    for count in (1, 3, 64, 2):
        given, expected = answer(images(count)), classifier.network(images(count), training=False)[0].numpy()
        assert given.logits.dtype == given.probabilities.dtype == np.float32
        np.testing.assert_allclose(given.logits, expected, atol=1e-4 * np.abs(expected).max())
        np.testing.assert_allclose(given.probabilities, tf.nn.softmax(expected), atol=1e-5)


def test_no_batch_normalisation_remains_in_a_file(exported):
    loaded = tf.saved_model.load(str(exported["savedmodel"].folder / "model"))
    graph = loaded.signatures["serving_default"].graph.as_graph_def()
    nodes = [node.op for function in graph.library.function for node in function.node_def]
    in_onnx = [node.op_type for node in onnx.load(exported["onnx"].folder / "model.onnx").graph.node]
    details = Interpreter(str(exported["tflite"].folder / "model.tflite"))._get_ops_details()
    in_tflite = [row["op_name"] for row in details if row["op_name"] != "DELEGATE"]
    assert nodes.count("Conv2D") == in_onnx.count("Conv") == in_tflite.count("CONV_2D") == 9
    for ops in (nodes, in_onnx, in_tflite):
        assert not [op for op in ops if "norm" in op.lower()]
        assert ops.count("Mul") + ops.count("MUL") <= 1  # that of the pixels, which may have gone into the stem


def test_a_saved_model_has_the_classes_and_facts_in_files_and_the_classes_in_a_signature(exported, classifier):
    loaded = tf.saved_model.load(str(exported["savedmodel"].folder / "model"))
    identifiers, names = zip(*classifier.classes, strict=True)
    given = {key: value.numpy().tolist() for key, value in loaded.signatures["classes"]().items()}
    assert [name.decode(errors="surrogateescape") for name in given["identifiers"]] == list(identifiers)
    assert [name.decode() for name in given["names"]] == [readable(name) for name in names]
    assets = exported["savedmodel"].folder / "model" / "assets"
    lines = (assets / "classes.txt").read_bytes().decode(errors="surrogateescape").split("\n")
    assert lines == [*(f"{identifier}\t{readable(name)}" for identifier, name in classifier.classes), ""]
    facts = json.loads((assets / "facts.json").read_text())
    assert facts == SIZES | {"classes": [[identifier, readable(name)] for identifier, name in classifier.classes]}


def test_an_onnx_file_has_the_classes_and_facts_in_its_metadata(exported, classifier):
    session = onnxruntime.InferenceSession(exported["onnx"].folder / "model.onnx")
    facts = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    assert facts == SIZES | {"classes": [[identifier, readable(name)] for identifier, name in classifier.classes]}
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["n", 16, 16, 3])
    shapes = {output.name: output.shape for output in session.get_outputs()}
    assert shapes == {"probabilities": ["n", 4], "logits": ["n", 4]}


def test_a_tflite_file_has_the_classes_and_facts_in_an_archive_at_its_end(exported, classifier):
    with zipfile.ZipFile(exported["tflite"].folder / "model.tflite") as attached:
        labels, facts = attached.read("labels.txt").decode(), json.loads(attached.read("facts.json"))
    assert labels.split("\n") == [*(readable(name) for _, name in classifier.classes), ""]
    assert facts == SIZES | {"classes": [[identifier, readable(name)] for identifier, name in classifier.classes]}


@pytest.mark.parametrize("normalization", ["torch", "caffe"])
def test_an_onnx_file_of_an_imagenet_network_answers_as_the_network(as_trained, tmp_path, normalization):
    """With bottlenecks, strides in both places, max pooling, and pixels that are shifted before padding."""
    stride_in = "3x3" if normalization == "torch" else "1x1"
    network = as_trained(ResNet(50, 4, stride_in=stride_in, normalization=normalization))
    recipe = load_recipe("imagefolder", ["model.image_size=33", "augmentation.scale_min=40"])[1]
    classifier = SimpleNamespace(network=network, recipe=recipe, classes=[(name, name) for name in "abcd"])
    onnx_model.write(Interface(classifier), tmp_path)
    pixels = np.random.default_rng(4).integers(0, 256, (2, 33, 33, 3), np.uint8)
    expected = network(pixels, training=False)[0].numpy()
    np.testing.assert_allclose(onnx_model.opened(tmp_path)(pixels).logits, expected, atol=2e-5 * np.abs(expected).max())

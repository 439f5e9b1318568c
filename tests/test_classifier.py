"""Classifying images from Python."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from resnet.classifier import BATCH, Classifier, load_classifier
from resnet.datasets.imagenet import shipped_classes
from resnet.errors import UserError
from resnet.files import sha256
from resnet.images.decoding import decode
from resnet.ledger.state_files import content_digest, write_state
from resnet.loader.files import ImageFile
from resnet.model.network import ResNet
from resnet.predictions_file import read_predictions
from resnet.records.shards import read_classes
from resnet.run import Run
from resnet.weights.safetensors_files import write_weights
from resnet.weights.tensor_files import read_tensors, write_tensors

CLASSES = ["cat", "dog", "zebra_finch"]


@pytest.fixture(scope="module")
def classifier(evaluated) -> Classifier:
    return load_classifier(evaluated.folder)


@pytest.fixture
def copied(evaluated, tmp_path) -> Path:
    """The run's folder alone, copied to where there are no records, free to change."""
    return shutil.copytree(evaluated.folder, tmp_path / "copied")


def test_every_validation_image_gets_the_answer_that_evaluate_gave(evaluated, classifier):
    expected = read_predictions(evaluated.stage_folder("evaluate") / "predictions.csv", CLASSES)
    found = classifier.predict([evaluated.data / file for file in expected["file"]], top=3)
    assert len(found) == 39
    assert [Path(one.file) for one in found] == [evaluated.data / file for file in expected["file"]]
    for place in range(3):
        answers = [one.top[place] for one in found]
        assert [answer.identifier for answer in answers] == list(expected[f"class{place + 1}"])
        probabilities = [answer.probability for answer in answers]
        # Its 6 decimals, and the rounding of float32 in batches of another size.
        np.testing.assert_allclose(probabilities, expected[f"probability{place + 1}"], rtol=0, atol=5e-6)


def test_answers_come_likeliest_first_with_identifier_and_name(classifier, photographs):
    (one,) = classifier.predict([str(photographs / "cat" / "0.jpg")])
    probabilities = [answer.probability for answer in one.top]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)
    assert {(answer.identifier, answer.name) for answer in one.top} == set(classifier.classes)
    assert one.error == ""


def test_top_is_how_many_classes_an_image_gets_or_all_of_them(classifier, photographs):
    image = photographs / "cat" / "0.jpg"
    assert [len(classifier.predict([image], top=top)[0].top) for top in (1, 2, 3, 100)] == [1, 2, 3, 3]
    with pytest.raises(ValueError, match="top must be at least 1, not 0"):
        classifier.predict([image], top=0)


def test_files_and_arrays_may_be_mixed_and_an_unreadable_one_keeps_its_place(classifier, photographs):
    file = photographs / "dog" / "WebP.img"
    found = classifier.predict([file, "missing.jpg", decode(file.read_bytes())])
    assert [one.file for one in found] == [str(file), "missing.jpg", None]
    assert [one.error for one in found] == ["", "No such file or directory", ""]
    assert found[1].top == []
    assert [answer.identifier for answer in found[0].top] == [answer.identifier for answer in found[2].top]


def test_more_images_than_a_batch_are_answered_in_their_order(classifier, picture):
    images = [picture(i) for i in range(2 * BATCH + 3)]
    together = classifier.logits(images)
    alone = np.concatenate([classifier.logits(images[i : i + 1]) for i in (0, BATCH, 2 * BATCH + 2)])
    assert together.dtype == np.float32
    assert together.shape == (2 * BATCH + 3, 3)
    np.testing.assert_allclose(together[[0, BATCH, -1]], alone, rtol=1e-4, atol=1e-5)


def test_a_batch_of_nothing_but_unreadable_files_is_answered(classifier):
    found = classifier.predict(["missing.jpg"] * (BATCH + 1))
    assert [one.error for one in found] == ["No such file or directory"] * (BATCH + 1)
    assert classifier.predict([]) == []
    assert classifier.logits([]).shape == (0, 3)


def test_answers_come_before_all_images_are_there(classifier, photographs):
    drawn = []

    def endless():
        while True:
            drawn.append(None)
            yield ImageFile(str(photographs / "cat" / "0.jpg"))

    predictions = classifier.stream(endless())
    assert next(predictions).error == ""
    predictions.close()
    assert len(drawn) <= 4 * BATCH


def test_probabilities_are_those_of_the_logits(classifier, photographs):
    images = [photographs / "cat" / "0.jpg", photographs / "dog" / "PNG.img"]
    logits, probabilities = classifier.logits(images), classifier.probabilities(images)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)


def test_logits_of_a_file_that_cannot_be_read_are_an_error(classifier, photographs):
    with pytest.raises(UserError, match=r"missing\.jpg cannot be read: No such file"):
        classifier.logits([photographs / "cat" / "0.jpg", "missing.jpg"])


def test_an_array_that_is_no_image_is_refused(classifier, picture):
    with pytest.raises(ValueError, match=r"uint8 RGB \[height, width, 3\].* this one is float32 \[48, 64, 3\]"):
        classifier.predict([picture(), picture().astype(np.float32) / 255])


def test_what_is_neither_a_path_nor_an_array_is_refused_with_the_way_to_make_an_array(classifier, picture):
    for image in (None, 3, b"the content of a file", Image.fromarray(picture())):
        with pytest.raises(ValueError, match=rf"a path or an array, not {type(image).__name__}.*numpy\.asarray"):
            classifier.predict([image])


@pytest.mark.parametrize("image", ["a.jpg", Path("a.jpg"), np.zeros((8, 8, 3), np.uint8), b"a.jpg"])
def test_one_image_instead_of_a_list_is_refused(classifier, image):
    with pytest.raises(ValueError, match=r"even for a single one: \[image\]"):
        classifier.predict(image)


def test_a_run_that_was_copied_without_its_records_answers_the_same(classifier, copied, photographs):
    image = photographs / "zebra_finch" / "1.jpg"
    assert load_classifier(str(copied)).predict([image]) == classifier.predict([image])


def forget_classes(folder: Path) -> None:
    """The weights as earlier versions wrote them."""
    path = folder / "batchnorm" / "weights.safetensors"
    tensors, facts = read_tensors(path)
    write_tensors(path, tensors, {name: value for name, value in facts.items() if name != "classes"})
    finish(path)


def finish(weights: Path) -> None:
    """Write the stage.json of weights."""
    outputs = {weights.name: {"sha256": sha256(weights), "size": weights.stat().st_size}}
    facts = {"stage": "batchnorm", "version": 1, "settings": {}, "inputs": {}, "outputs": outputs}
    write_state(weights.with_name("stage.json"), facts | {"digest": content_digest(outputs)})


def test_weights_that_name_no_classes_have_those_of_the_records(evaluated, tmp_path, photographs):
    for folder in (evaluated.folder, evaluated.records):
        shutil.copytree(folder, tmp_path / folder.relative_to(evaluated.artifacts))
    folder = tmp_path / "runs" / evaluated.name
    forget_classes(folder)
    assert load_classifier(folder).classes == read_classes(evaluated.records)
    (tmp_path / "records" / evaluated.records.name / "classes.txt").write_text("cat\tcat\n")
    with pytest.raises(UserError, match=r"has 1 classes, and the network of .* 3: not its records"):
        load_classifier(folder)


def test_without_any_names_of_classes_it_says_where_they_are_looked_for(copied):
    forget_classes(copied)
    with pytest.raises(UserError, match=r"does not say what its classes are called.*classes\.txt"):
        load_classifier(copied)


@pytest.mark.parametrize("outputs", [1000, 999])
def test_a_network_of_1000_outputs_on_imagenet_has_the_shipped_classes(tmp_path, outputs):
    run = Run.of("imagenet-resnet18", ["model.depth=20", "model.image_size=16"], artifacts=tmp_path)
    run.store()
    weights = run.stage_folder("batchnorm") / "weights.safetensors"
    weights.parent.mkdir()
    write_weights(weights, ResNet(20, outputs))
    finish(weights)
    if outputs == 1000:
        assert load_classifier(run.folder).classes == shipped_classes()
    else:
        with pytest.raises(UserError, match="does not say what its classes are called"):
            load_classifier(run.folder)


def test_what_is_not_a_run_or_not_finished_is_refused_with_the_way_on(copied, tmp_path):
    with pytest.raises(UserError, match=r"is not the folder of a run: it has no recipe\.toml"):
        load_classifier(tmp_path / "nothing")
    (copied / "batchnorm" / "stage.json").unlink()
    with pytest.raises(UserError, match=r"run copied has no finished weights yet.*BatchNormStatistics .*--run copied"):
        load_classifier(copied)


def test_a_recipe_that_was_changed_by_hand_is_refused(copied):
    recipe = copied / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("shorter_side = 27", "shorter_side = 28"))
    with pytest.raises(UserError, match=r"recipe\.toml is corrupt \(it differs from what the run stored\)"):
        load_classifier(copied)


def test_a_run_that_was_given_another_network_meanwhile_is_refused(copied):
    (copied / "run.json").unlink()  # a run of an earlier version, whose recipe has no checksum
    recipe = copied / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('normalization = "unit"', 'normalization = "torch"'))
    with pytest.raises(
        UserError, match=r"trained with model\.normalization = unit, and the run's recipe now says torch"
    ):
        load_classifier(copied)


def test_weights_cut_short_are_refused(copied):
    weights = copied / "batchnorm" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match="not a complete safetensors file"):
        load_classifier(copied)


def test_weights_of_another_run_in_their_place_are_refused(copied):
    path = copied / "batchnorm" / "weights.safetensors"
    tensors, facts = read_tensors(path)
    write_tensors(path, {name: tensor + 1 for name, tensor in tensors.items()}, facts)
    with pytest.raises(UserError, match=r"weights\.safetensors is corrupt: it differs from what batchnorm wrote"):
        load_classifier(copied)


def test_a_stale_run_is_used_with_a_warning(copied, capsys, photographs):
    (copied / "batchnorm" / "stale.txt").write_text("why")
    assert load_classifier(copied).predict([photographs / "cat" / "0.jpg"])[0].error == ""
    assert "warning: classifier: " in (said := capsys.readouterr().err)
    assert "weights.safetensors is stale" in said


def test_a_process_that_classifies_keeps_tensorflow_as_it_was(evaluated, photographs, monkeypatch):
    """With deterministic operations, TensorFlow would refuse to draw random numbers without a seed."""

    def refuse():
        raise AssertionError

    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", refuse)
    assert load_classifier(evaluated.folder).predict([photographs / "cat" / "0.jpg"])[0].top


def test_importing_the_package_is_cheap(tmp_path):
    code = "import sys, resnet; print(callable(resnet.load_classifier), {'numpy', 'tensorflow'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout == "True set()\n"

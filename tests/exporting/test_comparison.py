"""When an exported network agrees with Evaluate."""

from __future__ import annotations

import numpy as np
import pytest

from resnet.classifier import load_classifier
from resnet.errors import UserError
from resnet.exporting.comparison import BFLOAT16, FLOAT32, TENSORFLOAT32, Evaluated, compare, tolerance
from resnet.exporting.interface import Answer
from resnet.predictions_file import read_predictions


@pytest.fixture(scope="module")
def predictions(evaluated) -> Evaluated:
    identifiers = [identifier for identifier, _ in load_classifier(evaluated.run.folder).classes]
    table = read_predictions(evaluated.run.stage_folder("evaluate") / "predictions.csv", identifiers)
    return Evaluated.of(table, identifiers)


class Replay:
    """Answers image after image with given probabilities, float64 [n, classes]."""

    def __init__(self, probabilities: np.ndarray):
        self._left = probabilities

    def __call__(self, images: np.ndarray) -> Answer:
        now, self._left = self._left[: len(images)], self._left[len(images) :]
        with np.errstate(divide="ignore"):
            return Answer(now, np.log(now))


@pytest.fixture
def answers(predictions) -> np.ndarray:
    """What Evaluate wrote, with the classes in their order: float64 [40, 4]."""
    values = np.empty((40, 4))
    np.put_along_axis(values, predictions.likeliest, predictions.probabilities, 1)
    return values


def test_probabilities_within_the_tolerance_agree(evaluated, predictions, answers):
    answers[33, predictions.likeliest[33, :2]] += -0.0009, 0.0009
    result = compare("copy", Replay(answers), evaluated.run, predictions, 1e-3)
    assert (result.images, result.other_class_first) == (40, 0)
    assert result.greatest_difference == pytest.approx(0.0009, rel=0.01)


def test_one_probability_beyond_the_tolerance_is_an_error_that_names_the_image(evaluated, predictions, answers):
    answers[33, predictions.likeliest[33, 3]] += 0.0011
    with pytest.raises(UserError, match="answers 1 of 40 images otherwise") as raised:
        compare("copy", Replay(answers), evaluated.run, predictions, 1e-3)
    assert f"\n  {predictions.filenames[33]!r}: 0.0011" in str(raised.value)
    assert f"Evaluate --local-scheduler --run small --artifacts {evaluated.run.artifacts}" in str(raised.value)


@pytest.mark.parametrize("ahead", [0.0008, 0.0012])
def test_another_class_may_be_first_only_by_a_tie(evaluated, predictions, answers, ahead):
    """Another class is first by `ahead`, while no probability differs from its own by more than half of that."""
    first, second = predictions.likeliest[5, :2]
    middle = (answers[5, first] + answers[5, second]) / 2
    probabilities = predictions.probabilities.copy()
    probabilities[5, :2] = middle
    answers[5, [first, second]] = middle - ahead / 2, middle + ahead / 2
    tied = predictions._replace(probabilities=probabilities)
    if ahead < 1e-3:
        assert compare("copy", Replay(answers), evaluated.run, tied, 1e-3).other_class_first == 1
    else:
        with pytest.raises(UserError, match="answers 1 of 40 images otherwise"):
            compare("copy", Replay(answers), evaluated.run, tied, 1e-3)


@pytest.mark.parametrize("side", ["evaluated", "exported", "both"])
def test_nan_agrees_only_with_nan(evaluated, predictions, answers, side):
    if side != "evaluated":
        answers[2] = np.nan
    if side != "exported":
        probabilities = predictions.probabilities.copy()
        probabilities[2] = np.nan
        predictions = predictions._replace(probabilities=probabilities)
    if side == "both":
        assert compare("copy", Replay(answers), evaluated.run, predictions, 1e-3).greatest_difference < 1e-5
    else:
        with pytest.raises(UserError, match="answers 1 of 40 images otherwise"):
            compare("copy", Replay(answers), evaluated.run, predictions, 1e-3)


def test_wrong_logits_beside_right_probabilities_are_an_error(evaluated, predictions, answers):
    replay = Replay(answers)

    def answer(images: np.ndarray) -> Answer:
        probabilities, logits = replay(images)
        return Answer(probabilities, logits[:, ::-1])

    with pytest.raises(UserError, match="images otherwise than Evaluate"):
        compare("copy", answer, evaluated.run, predictions, 1e-3)


@pytest.mark.parametrize("change", ["renamed", "fewer", "more"])
def test_predictions_of_other_images_are_an_error(evaluated, predictions, answers, change):
    names = list(predictions.filenames)
    changed = {"renamed": [*names[:-1], "other.png"], "fewer": names[:-1], "more": [*names, "other.png"]}[change]
    with pytest.raises(UserError, match=r"the predictions in .* are of other images than"):
        compare("copy", Replay(answers), evaluated.run, predictions._replace(filenames=changed), 1e-3)


def test_the_tolerance_follows_what_evaluate_computed_in():
    assert tolerance("float32", ["CPU (2 cores)"]) == FLOAT32
    assert tolerance("float32", ["NVIDIA H100", "NVIDIA H100"]) == TENSORFLOAT32
    assert tolerance("bfloat16", ["CPU (2 cores)"]) == tolerance("bfloat16", ["NVIDIA H100"]) == BFLOAT16

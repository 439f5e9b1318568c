"""Labels that are likely wrong: found where they were planted, by cleanlab, in memory and in blocks."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from made_answers import made_answers, random_answers
from scipy.special import softmax

from resnet.analysis import label_errors
from resnet.analysis.answers import EvaluatedImages
from resnet.analysis.label_errors import likely_label_errors

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

filters = pytest.importorskip("cleanlab.filter")
PLANTED = 20
PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.fixture(params=["whole", "blocks"])
def way(request, monkeypatch) -> str:
    """Both ways of looking for them."""
    if request.param == "blocks":
        monkeypatch.setattr(label_errors, "LARGEST", 0)
        blocks = EvaluatedImages.logit_blocks
        monkeypatch.setattr(EvaluatedImages, "logit_blocks", lambda self: blocks(self, size=100))
    return request.param


def planted(seed: int = 0, classes: int = 6) -> EvaluatedImages:
    """A good network's answers to 600 images, of which the first PLANTED have the label after the right one."""
    random = np.random.default_rng(seed)
    right = random.integers(0, 5, 600)  # there may be classes without images
    logits = random.standard_normal((600, classes))
    logits[np.arange(600), right] += 6
    labels = right.copy()
    labels[:PLANTED] = (labels[:PLANTED] + 1) % 5
    return made_answers(logits, labels, files=[f"{i}\udcff.jpg" for i in range(600)])


def test_most_planted_errors_are_named_and_little_else(way):
    images = planted()
    table = likely_label_errors(images).table
    found = set(table["row"])
    assert len(found & set(range(PLANTED))) >= PLANTED - 4
    assert len(found - set(range(PLANTED))) <= 2
    for row in table.itertuples():
        probabilities = softmax(images.logits[row.row].astype(float))
        assert row.file == images.files[row.row]
        assert row.label == f"n{images.labels[row.row]}"
        assert row.suggested_name == f"name {probabilities.argmax()}"
        assert row.label_probability == pytest.approx(probabilities[images.labels[row.row]], rel=1e-5)
        assert row.probability == pytest.approx(probabilities.max(), abs=1e-6)
    assert table["label_probability"].is_monotonic_increasing


@pytest.mark.parametrize("seed", range(5))
def test_the_rows_are_cleanlabs(way, seed):
    images = random_answers(seed, images=200, classes=5, skill=0.5)
    options = {"filter_by": "confident_learning"} if way == "blocks" else {}
    expected = filters.find_label_issues(
        images.labels, softmax(images.logits, 1), return_indices_ranked_by="self_confidence", n_jobs=1, **options
    )
    assert len(expected) > 2
    assert likely_label_errors(images).table["row"].tolist() == expected.tolist()


def test_unanswered_images_are_passed_over(way):
    images = random_answers(1, images=200, classes=5, skill=1.0)
    expected = likely_label_errors(images).table["row"] + 90
    assert len(expected) > 2
    bad = np.full((90, 5), np.nan)
    bad[:80] = [9, 9, 0, 0, 0]  # a tie
    mixed = made_answers(np.concatenate([bad, images.logits]), [*[0] * 40, *[4] * 50, *images.labels])
    assert likely_label_errors(mixed).table["row"].tolist() == expected.tolist()


def test_where_labels_and_answers_agree_nothing_is_named(way):
    found = likely_label_errors(made_answers(9 * np.eye(3)[[0, 1, 2] * 20], [0, 1, 2] * 20))
    assert len(found.table) == 0
    assert found.sentence == "None of the labels of the 60 images looks wrong."


def test_the_sentence_counts_them(way):
    found = likely_label_errors(planted())
    share = 100 * len(found.table) / 600
    assert found.sentence == f"{len(found.table)} labels of 600 ({share:.1f} %) may be wrong: look at these images."


@pytest.mark.parametrize("labels", [[0, 0, 0], [2, 2, 2]])
def test_images_of_one_class_only_are_no_error_of_the_program(way, labels):
    found = likely_label_errors(made_answers(np.eye(3), labels))
    assert found == (None, "Likely label errors are not looked for: that needs answers for two classes.")


def test_without_logits_it_says_so():
    images = random_answers(0)
    found = likely_label_errors(made_answers(images.logits, images.labels, with_logits=False))
    assert found.table is None
    assert found.sentence.startswith("Likely label errors are not looked for: the evaluation kept no logits")


def test_without_cleanlab_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    found = likely_label_errors(random_answers(0))
    assert found.table is None
    assert found.sentence.endswith("cleanlab is missing. Install it into this environment: pip install 'cleanlab>=2.9'")
    (requirement,) = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]["labels"]
    assert f"'{requirement}'" in found.sentence


def test_a_network_that_is_no_better_than_chance_accuses_no_label(way):
    logits = np.zeros((60, 3))
    logits[:, 0] = 2
    found = likely_label_errors(made_answers(logits, [0, 1, 2] * 20))
    assert found == (None, "Likely label errors are not looked for: that needs a network that is better than chance.")


@pytest.mark.filterwarnings("error")
def test_classes_of_a_single_image_are_counted_without_a_warning_of_cleanlabs():
    labels = [*[0, 1] * 20, 2, 3]
    found = likely_label_errors(made_answers(9 * np.eye(5)[[*labels[:-1], 0]], labels))
    assert found.sentence == (
        "None of the labels of the 42 images looks wrong. 2 classes have a single image, whose label cannot be judged."
    )


def test_the_doubts_of_a_network_that_often_errs_are_doubted():
    weak, strong = (likely_label_errors(images).sentence for images in (random_answers(1, skill=1.0), planted()))
    assert re.search(r"The network errs on \d\d % of all, so many of them may be its own mistakes\.$", weak)
    assert "its own mistakes" not in strong

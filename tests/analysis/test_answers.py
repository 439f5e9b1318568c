"""What is known of evaluated images: as Evaluate counted them, and flat in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_answers import made_answers, random_answers, written

from resnet.analysis.answers import EvaluatedImages
from resnet.errors import UserError
from resnet.predictions_file import write_predictions

NAN, INF = np.nan, np.inf
# Answers without a single likeliest class, and others beside them.
LOGITS = [[1, 2, 3], [3, 3, 1], [1, 3, 3], [2, 2, 2], [NAN, 1, 2], [NAN, NAN, NAN], [-INF, 0, 1], [5, 0, 0], [9, 30, 9]]


@pytest.mark.parametrize("with_logits", [True, False])
def test_the_error_is_the_one_that_evaluate_measures(tmp_path, with_logits):
    from resnet.inference import answers_of, scores  # imports TensorFlow

    made = random_answers(0, images=300)
    logits = np.concatenate([made.logits, np.full((5, 7), NAN), np.ones((5, 7))]).astype(np.float32)
    answers = answers_of(logits, np.concatenate([made.labels, np.zeros(10, np.int64)]).astype(np.int32))
    table, file = tmp_path / "predictions.csv", tmp_path / "logits.npy"
    files = [f"{i}.jpg" for i in range(310)]
    write_predictions(table, files, answers.labels, answers.likeliest, answers.probabilities, made.classes)
    np.save(file, logits)
    images = EvaluatedImages.read(table, file if with_logits else None, made.classes)
    assert images.error == pytest.approx(scores(answers)["top1_error"])
    assert images.unanswered.sum() == 10


def test_ties_and_nan_are_wrong_as_in_evaluate():
    from resnet.inference import label_ranks  # imports TensorFlow

    for label in range(3):
        labels = np.full(len(LOGITS), label)
        images = made_answers(LOGITS, labels)
        assert images.correct.tolist() == (label_ranks(np.float32(LOGITS), labels).numpy() == 0).tolist()
        assert images.unanswered.tolist() == [False, True, True, True, True, True, False, False, False]


def test_without_logits_answers_that_differ_in_no_decimal_are_ties_only_where_all_are_the_same():
    logits = [[1.0, 1.0, 0.0], [2.0, 2.0, 2.0], [np.nan] * 3, [1.0, 1.0 + 1e-6, 0.0]]
    known, unknown = (made_answers(logits, [1] * 4, with_logits=there).unanswered.tolist() for there in (True, False))
    assert known == [True, True, True, False]
    assert unknown == [False, True, True, False]


def test_one_class_is_always_answered():
    assert made_answers([[0.0], [0.0]], [0, 0]).correct.all()


def test_files_read_give_what_was_written(tmp_path):
    made = random_answers(0, classes=3)
    made = replace(made, classes=[("a\udcff", "odd"), ("1", "one"), ('b,"', "b")])
    images = EvaluatedImages.read(*written(tmp_path, made), made.classes)
    assert images.files == made.files
    for name in ("labels", "likeliest", "probabilities", "logits", "correct"):
        np.testing.assert_array_equal(getattr(images, name), getattr(made, name))


@pytest.mark.parametrize("size", [1, 30, 1 << 20])
def test_blocks_of_logits_are_all_of_them_and_free_to_change(tmp_path, size):
    made = random_answers(1, images=50, classes=7)
    images = EvaluatedImages.read(*written(tmp_path, made), made.classes)
    blocks = []
    for rows, block in images.logit_blocks(size):
        np.testing.assert_array_equal(block, made.logits[rows])
        blocks.append(block.copy())
        block[:] = 0
    np.testing.assert_array_equal(np.concatenate(blocks), made.logits)
    np.testing.assert_array_equal(images.logits, made.logits)
    assert max(block.size for block in blocks) <= max(size, 7)


def test_pages_of_the_file_do_not_pile_up_in_memory(tmp_path):
    images, classes = 20_000, 1000
    made = random_answers(0, images=images, classes=2)
    np.lib.format.open_memmap(tmp_path / "logits.npy", "w+", np.float32, (images, classes)).flush()  # 80 MB of holes
    logits = np.load(tmp_path / "logits.npy", mmap_mode="r")
    big = replace(made, logits=logits, classes=[(f"n{i}", "") for i in range(classes)])
    before = mapped_megabytes()
    for _ in big.logit_blocks():
        assert mapped_megabytes() < before + 20


def mapped_megabytes() -> float:
    """How much of mapped files is in this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile")) / 1000


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "cannot be read"),
        (lambda path: path.write_bytes(bytes(range(256)) * 9), "cannot be read"),
        (lambda path: np.save(path, np.zeros((400, 6), np.float32)), "400 x 7 float32"),
        (lambda path: np.save(path, np.zeros((399, 7), np.float32)), "400 x 7 float32"),
        (lambda path: np.save(path, np.zeros((400, 7), np.float64)), "400 x 7 float32"),
        (lambda path: np.save(path, np.array([{}] * 2800).reshape(400, 7)), "cannot be read"),
        (lambda path: np.savez(path.open("wb"), np.zeros((400, 7), np.float32)), "400 x 7 float32"),
    ],
    ids=["missing", "empty", "truncated", "noise", "classes", "images", "type", "pickle", "archive"],
)
def test_logits_that_are_not_those_of_the_table_are_one_message(tmp_path, change, what):
    made = random_answers(0)
    table, logits = written(tmp_path, made)
    change(logits)
    with pytest.raises(UserError, match=what) as error:
        EvaluatedImages.read(table, logits, made.classes)
    assert str(error.value).startswith(f"{logits} cannot be read: ")
    assert str(error.value).endswith("Delete it: then `luigi` runs Evaluate again.")

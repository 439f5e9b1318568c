"""Which classes are taken for which."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from made_answers import answered
from sklearn.metrics import confusion_matrix as sklearn_matrix

from resnet.analysis.confusions import confused_pairs, confusion_matrix

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 4)), min_size=1, max_size=40)


@settings(max_examples=40)
@given(PAIRS)
def test_the_matrix_is_scikit_learns_and_leaves_out_unanswered_images(pairs):
    labels, answers = np.array(pairs).T
    kept = answers >= 0
    found = confusion_matrix(answered(answers, labels, 5))
    if kept.any():
        np.testing.assert_array_equal(found, sklearn_matrix(labels[kept], answers[kept], labels=range(5)))
    assert found.sum() == kept.sum()


@settings(max_examples=40)
@given(PAIRS, st.integers(1, 5))
def test_the_most_frequent_mistakes_come_first_then_by_name(pairs, most):
    counts = Counter((label, answer) for label, answer in pairs if label != answer >= 0)
    expected = sorted(((-n, *pair) for pair, n in counts.items()))[:most]
    labels, answers = np.array(pairs).T
    table = confused_pairs(answered(answers, labels, 5), most)
    assert table["images"].tolist() == [-n for n, _, _ in expected]
    assert table["label"].tolist() == [f"n{label}" for _, label, _ in expected]
    assert table["predicted_name"].tolist() == [f"name {answer}" for _, _, answer in expected]
    assert table["of"].tolist() == [labels.tolist().count(label) for _, label, _ in expected]

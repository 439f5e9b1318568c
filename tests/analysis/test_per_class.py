"""The errors of each class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_answers import answered
from scipy.stats import binomtest

from resnet.analysis.per_class import per_class

# Label and answer of each image; -1 is no answer. Class 4 seldom occurs.
PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 4)), min_size=1, max_size=40)


@settings(max_examples=40)
@given(PAIRS)
def test_every_figure_is_what_counting_gives(pairs):
    labels, answers = (list(column) for column in zip(*pairs, strict=True))
    table = per_class(answered(answers, labels, 5))
    assert table["class"].tolist() == ["n0", "n1", "n2", "n3", "n4"]
    for k, row in enumerate(table.itertuples()):
        own = [answer for label, answer in pairs if label == k]
        hits, given_answers = own.count(k), answers.count(k)
        assert (row.images, row.errors) == (len(own), len(own) - hits)
        assert row.recall == pytest.approx(hits / len(own) if own else np.nan, nan_ok=True)
        assert row.precision == pytest.approx(hits / given_answers if given_answers else np.nan, nan_ok=True)
        expected = 2 * hits / (len(own) + given_answers) if own or given_answers else np.nan
        assert row.f1 == pytest.approx(expected, nan_ok=True)
        if own:
            interval = binomtest(row.errors, row.images).proportion_ci(0.95, method="wilson")
            assert row.error == pytest.approx(100 * row.errors / row.images)
            assert (row.low, row.high) == pytest.approx((100 * interval.low, 100 * interval.high))
        else:
            assert np.isnan([row.error, row.low, row.high]).all()

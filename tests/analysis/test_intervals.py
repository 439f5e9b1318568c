"""Wilson's interval for many shares at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from resnet.analysis.intervals import wilson


@given(
    st.lists(st.integers(0, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=5)
)
def test_the_interval_is_scipys(pairs):
    low, high = wilson(*np.array(pairs).T)
    for i, (hits, trials) in enumerate(pairs):
        if trials:
            expected = binomtest(hits, trials).proportion_ci(0.95, method="wilson")
            assert (low[i], high[i]) == pytest.approx((expected.low, expected.high), abs=1e-12)
        else:
            assert np.isnan([low[i], high[i]]).all()

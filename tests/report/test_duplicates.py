"""What the report states of near-duplicates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_runs import MadeRun

from resnet.analysis.near_duplicates import COLUMNS, NearDuplicates, NotKnown
from resnet.report.duplicates import duplicates, find_duplicates


@pytest.fixture
def results(tmp_path, results_of):
    return results_of(MadeRun(filenames=["a.jpg", "b.jpg", "c.jpg"]).write(tmp_path))


def test_the_error_is_stated_without_them(results):
    pairs = pd.DataFrame([("a.jpg", "1.jpg", "cat", "dog", 0.99, False)], columns=COLUMNS)
    found = NearDuplicates(pairs, np.array([0]), 3, 1, 1, 0, np.array([[0, 1]]))
    results.images.correct[:] = [True, False, False]
    section = duplicates(results, found)
    assert (section.images, section.pairs, section.contradictions) == (1, 1, 1)
    assert section.error_without == 100
    assert section.error_sentence == "Without them the top-1 error is 100.00 %; with them 66.67 %."
    assert section.shown[0]["validation_label"] == "cat"


def test_records_without_hashes_are_said_and_no_error_is_stated(results):
    found = find_duplicates(results)
    assert isinstance(found, NotKnown)
    section = duplicates(results, found)
    assert section.sentence == found.sentence
    assert section.images is None


def test_weights_from_elsewhere_have_no_such_section(tmp_path, results_of):
    run = MadeRun(train={"imported": {"file": "a", "sha256": "b"}})
    results = results_of(run.write(tmp_path))
    assert find_duplicates(results) is None
    assert duplicates(results, None) is None

"""The table of predictions on disk: any name survives, and damage is one message."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet.errors import UserError
from resnet.predictions_file import read_predictions, write_predictions

# As os.fsdecode gives them: a byte that is not UTF-8 is a surrogate.
NAMES = st.binary(max_size=20).map(lambda name: name.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
ODD_NAMES = ["a\udcff.jpg", "$a$", "", 'say "cat", twice', "two\nlines", "carriage\rreturn", "x" * 300, "👾", "שלום"]


def written(path: Path, filenames: list[str], classes: list[str], probability: float = 0.25) -> Path:
    """A table in which image i has the label i, and was taken for the class after it."""
    labels = np.arange(len(filenames), dtype=np.int32) % len(classes)
    likeliest = np.stack([(labels + 1) % len(classes), labels], 1).astype(np.int64)
    probabilities = np.full(likeliest.shape, probability)
    return write_predictions(path, filenames, labels, likeliest, probabilities, [(name, "text") for name in classes])


@given(st.lists(NAMES | st.sampled_from(ODD_NAMES), min_size=2, max_size=9, unique=True))
def test_every_name_of_a_file_or_class_is_read_as_it_was_written(tmp_path_factory, names):
    path = written(tmp_path_factory.mktemp("table") / "predictions.csv", names, names)
    found = read_predictions(path, names)
    assert found["file"].tolist() == found["label"].tolist() == found["class2"].tolist() == names
    assert found["class1"].tolist() == [*names[1:], names[0]]
    assert found["probability1"].dtype == float


@given(st.lists(st.floats(0, 1) | st.just(math.nan), min_size=1, max_size=9))
def test_the_bytes_are_those_that_pandas_would_write(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("table") / "predictions.csv"
    numbers = np.array(values)[:, None]
    zeros = np.zeros(len(values), np.int32)
    write_predictions(path, ['a,"b"'] * len(values), zeros, zeros[:, None], numbers, [("7", "seven")])
    expected = io.StringIO()
    table = {"file": ['a,"b"'] * len(values), "label": "7", "class1": "7", "probability1": numbers[:, 0].round(6)}
    pd.DataFrame(table).to_csv(expected, index=False)
    assert path.read_text() == expected.getvalue()


def test_a_probability_that_is_not_a_number_is_empty_and_read_as_such(tmp_path):
    path = written(tmp_path / "predictions.csv", ["a.jpg", "b.jpg"], ["cat", "dog"], math.nan)
    assert "dog,,cat,\n" in path.read_text()
    assert read_predictions(path, ["cat", "dog"])["probability1"].isna().all()


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b",class1,", b",", "its columns are 'file, label, probability1"),
        (b"file,label", b"", "its columns are"),
        (b"0.25", b"much", "line 2 has 'much' where a probability should be"),
        (b"0.25", b"nan", "line 2 has 'nan' where a probability should be"),
        (b"0.25", b"2.25", "line 2 has '2.25' where a probability should be"),
        (b"0.25", b"\xff.25", r"line 2 has '\\udcff.25' where a probability should be"),
        (b",cat", b",c\xff", r"line 2 has the class 'c\\udcff', which the records do not have"),
        (b",cat", b",cow", "line 2 has the class 'cow', which the records do not have"),
        (b",cat", b"", "line 2 has 5 fields, not 6"),
        (b"a.jpg", b'"a.jpg', "cannot be read: "),
    ],
)
def test_a_damaged_table_is_one_message_with_what_is_wrong_and_what_to_do(tmp_path, old, new, what):
    path = written(tmp_path / "predictions.csv", ["a.jpg", "b.jpg"], ["cat", "dog"])
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(UserError, match=what) as error:
        read_predictions(path, ["cat", "dog"])
    assert str(error.value).startswith(f"{path} cannot be read: ")
    assert str(error.value).endswith(". Delete it: then `luigi` runs Evaluate again.")


@pytest.mark.parametrize("content", [b"", b"\n\n", bytes(range(256))])
def test_a_file_that_is_not_a_table_is_one_message(tmp_path, content):
    (tmp_path / "predictions.csv").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read: "):
        read_predictions(tmp_path / "predictions.csv", ["cat"])


def test_a_missing_table_is_one_message(tmp_path):
    with pytest.raises(UserError, match=r"predictions\.csv cannot be read: No such file or directory\. Delete it"):
        read_predictions(tmp_path / "predictions.csv", ["cat"])

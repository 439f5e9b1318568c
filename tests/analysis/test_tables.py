"""The tables of an analysis as CSV: any name survives."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from made_answers import random_answers

from resnet.analysis.calibration import calibration
from resnet.analysis.confusions import confused_pairs
from resnet.analysis.per_class import per_class
from resnet.analysis.tables import write_tables

ODD_NAMES = ["a\udcff.jpg", "$a$", "", 'say "cat", twice', "two\nlines", "carriage\rreturn", "שלום"]


def read(path) -> pd.DataFrame:
    return pd.read_csv(path, encoding_errors="surrogateescape", keep_default_na=False, na_values={"error": [""]})


def test_tables_are_read_as_they_were_written(tmp_path):
    images = replace(random_answers(0, classes=7), classes=[(name, name) for name in ODD_NAMES])
    tables = {
        "per_class": per_class(images),
        "confused_pairs": confused_pairs(images, 100),
        "calibration": calibration(images).bins,
    }
    paths = write_tables(tmp_path, tables)
    assert [path.name for path in paths] == ["per_class.csv", "confused_pairs.csv", "calibration.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)
    assert read(paths[0])["class"].tolist() == ODD_NAMES
    assert read(paths[0])["error"].tolist() == pytest.approx(tables["per_class"]["error"].tolist(), abs=1e-6)
    assert read(paths[1])["predicted"].tolist() == tables["confused_pairs"]["predicted"].tolist()
    assert b"\xff" in paths[0].read_bytes()


def test_an_empty_table_has_its_columns(tmp_path):
    images = random_answers(0, images=3, skill=50)
    (path,) = write_tables(tmp_path, {"confused_pairs": confused_pairs(images)})
    assert path.read_text() == '"label","label_name","predicted","predicted_name","images","of"\n'


def test_a_table_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "per_class.csv").mkdir()
    with pytest.raises(OSError, match=r"per_class\.csv"):
        write_tables(tmp_path, {"per_class": per_class(random_answers(0))})
    assert [path.name for path in tmp_path.iterdir()] == ["per_class.csv"]

"""Predictions as lines."""

from __future__ import annotations

import json

import pytest

from resnet.classifier import Answer, Prediction
from resnet.commands.prediction_lines import csv_line, json_line, printable, text_line, width

CATS = [
    Answer("n02123045", "tabby, tabby cat", 0.9312),
    Answer("n02123159", "tiger cat", 0.0541),
    Answer("n02124075", "Egyptian cat", 0.0104),
    Answer("n02104365", "schipperke", 0.0001),
]


def test_a_line_of_text_has_the_file_and_as_many_classes_as_fit():
    assert text_line(Prediction("cat.jpg", CATS), 80) == (
        "cat.jpg                    tabby 0.93   tiger cat 0.05   Egyptian cat 0.01"
    )
    assert text_line(Prediction("cat.jpg", CATS), 200).endswith("   schipperke 0.00")
    assert text_line(Prediction("cat.jpg", CATS), 20) == "cat.jpg                    tabby 0.93"


def test_long_names_are_cut_files_at_their_beginning_and_classes_at_their_end():
    line = text_line(Prediction("folder/" * 20 + "cat.jpg", [Answer("x", "a name that goes on for ever", 1.0)]), 80)
    assert line.startswith("…")
    assert "folder/cat.jpg   a name that goes on for" in line
    assert "… 1.00" in line
    assert width(line) <= 80


@pytest.mark.parametrize("columns", [0, 1, 2, 3])
def test_the_narrowest_terminal_shows_the_end_of_a_name(columns):
    assert text_line(Prediction("cat.jpg", CATS), columns).startswith("…g ")
    assert "写 " in text_line(Prediction("写", CATS), columns)


def test_wide_characters_count_twice_and_accents_not_at_all():
    assert (width("cat"), width("写真"), width("e\u0301")) == (3, 4, 1)
    assert width(text_line(Prediction("写" * 60, [Answer("x", "真" * 60, 0.5)]), 80)) <= 80


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.jpg", "plain name.jpg"),
        ("写真 é", "写真 é"),
        ("a\nb\r\t", "a\\nb\\r\\t"),
        ("\x1b[31m\x07\x9b", "\\x1b[31m\\x07\\x9b"),
        ("\u2028\u202e", "\\u2028\\u202e"),
        ("\udcff", "\\udcff"),
        ("a\\nb", "a\\\\nb"),
    ],
)
def test_what_does_not_print_is_shown_by_its_code(text, shown):
    assert printable(text) == shown
    assert printable(text).isprintable()


def test_probabilities_have_six_decimals_and_nan_is_null_or_empty():
    prediction = Prediction("a", [Answer("x", "X", 0.12345678), Answer("y", "Y", float("nan"))])
    assert [answer["probability"] for answer in json.loads(json_line(prediction))["top"]] == [0.123457, None]
    assert csv_line(prediction, 2) == "a,x,X,0.123457,y,Y,,"
    assert text_line(prediction, 80).endswith("   X 0.12   Y nan")

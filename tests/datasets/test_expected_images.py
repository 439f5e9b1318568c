"""Images that are missing, or of another number than the recipe expects."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resnet import settings
from resnet.datasets import fingerprint
from resnet.datasets.digits import Digits
from resnet.datasets.source import MissingData
from resnet.errors import UserError


@pytest.mark.parametrize(
    ("expected", "what", "found"),
    [
        ({"classes": 11}, "classes", "10"),
        ({"train_images": 1281167}, "training images", "1,438"),
        ({"validation_images": 50000}, "validation images", "359"),
        ({"classes": 9}, "classes", "10"),
        ({"train_images": 1437}, "training images", "1,438"),
    ],
)
def test_an_error_names_the_found_and_the_expected_number(dataset_of, expected, what, found):
    with pytest.raises(UserError) as caught:
        dataset_of("digits", **expected)
    message = str(caught.value)
    assert f"found {found} {what}" in message
    assert f"expects {next(iter(expected.values())):,}" in message
    assert not isinstance(caught.value, MissingData)


def test_the_expected_numbers_are_accepted(dataset_of):
    loaded = dataset_of("digits", classes=10, train_images=1438, validation_images=359)
    assert len(loaded.train) == 1438


@pytest.mark.parametrize("source", ["folder", "imagenet"])
def test_a_source_without_a_data_folder_raises_missing_data(source_of, source):
    with pytest.raises(MissingData, match="--data"):
        source_of(source)


@pytest.mark.parametrize("source", ["folder", "imagenet", "idx"])
def test_a_missing_folder_raises_missing_data_with_its_name(source_of, source, tmp_path):
    with pytest.raises(MissingData, match="--data") as caught:
        source_of(source, tmp_path / "nowhere", name="")
    assert str(tmp_path / "nowhere") in str(caught.value)


@pytest.mark.parametrize("source", ["folder", "imagenet", "idx"])
def test_an_empty_folder_raises_missing_data_with_its_name(source_of, source, tmp_path):
    with pytest.raises(MissingData) as caught:
        source_of(source, tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("source", ["folder", "imagenet", "idx"])
def test_missing_images_have_no_fingerprint(source, tmp_path):
    assert fingerprint(settings.Dataset(source=source), tmp_path / "nowhere", tmp_path) is None


@pytest.mark.parametrize("place", ["identifier", "text"])
@pytest.mark.parametrize("name", ["a\tb", "a\nb", "a\rb", "a\0b", "a\x7fb"])
def test_a_class_name_with_a_control_character_is_refused_whatever_the_source(dataset_of, monkeypatch, name, place):
    digits = dataset_of("digits")
    odd = (name, "fine") if place == "identifier" else ("fine", name)
    monkeypatch.setattr(Digits, "load", lambda _: replace(digits, classes=[("0", "zero"), odd]))
    with pytest.raises(UserError, match="a tab, a line break or another control character") as caught:
        dataset_of("digits")
    assert repr(name) in str(caught.value)
    assert "Rename its folder" in str(caught.value)


def test_any_other_character_may_be_in_a_class_name(dataset_of, monkeypatch):
    digits = dataset_of("digits")
    odd = replace(digits, classes=[(f"a{character}b", "") for character in " ,\u2028é狗\udce9"])
    monkeypatch.setattr(Digits, "load", lambda _: odd)
    assert dataset_of("digits").classes == odd.classes

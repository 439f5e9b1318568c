"""What is published for the network and the recipe of a run, and whether a result agrees with it."""

from __future__ import annotations

import pytest

from resnet.recipes import load_recipe, shipped_recipes
from resnet.report.published import agreement, expected_error, is_imagenet

FROM_ELSEWHERE = [name for name in shipped_recipes() if name.startswith(("torchvision", "timm", "keras"))]


@pytest.mark.parametrize("name", FROM_ELSEWHERE)
def test_each_recipe_for_weights_from_elsewhere_says_where_they_are_and_what_is_published(name):
    _, recipe = load_recipe(name)
    expected = expected_error(name, recipe)
    assert expected.network == f"ResNet-{recipe.model.depth}"
    text = (load_recipe.__globals__["RECIPES"] / f"{name}.toml").read_text()
    assert f"{expected.top1_error:.2f} % top-1 and {expected.top5_error:.2f} % top-5 error" in text.replace("\n# ", " ")
    assert "https://" in text
    assert any(licence in text for licence in ("BSD-3-Clause", "Apache-2.0", "MIT"))


def test_a_changed_network_or_view_is_not_what_was_published():
    name = "torchvision-resnet50-v1"
    assert expected_error(name, load_recipe(name)[1]).top1_error == 23.87
    assert expected_error(name, load_recipe(name, ["training.epochs=3"])[1])  # nothing is trained
    for override in ("evaluation.shorter_side=232", "evaluation.image_size=288", "model.depth=101"):
        assert expected_error(name, load_recipe(name, [override])[1]) is None
    assert expected_error("digits", load_recipe("digits")[1]) is None


@pytest.mark.parametrize(
    ("measured", "words"),
    [(23.9, "agrees: inside 23.53 to 24.27"), (24.4, "differs by +0.53 points"), (23.0, "differs by -0.87 points")],
)
def test_a_result_agrees_where_the_published_error_is_inside_its_interval(measured, words):
    scores = {"top1_error": measured, "top1_error_interval": [measured - 0.37, measured + 0.37]}
    expected = expected_error("torchvision-resnet50-v1", load_recipe("torchvision-resnet50-v1")[1])
    assert agreement(scores, expected).startswith(words)


@pytest.mark.parametrize(
    ("source", "images", "classes", "is_so"),
    [
        ("imagenet", 50_000, 1000, True),
        ("imagenet", 1000, 1000, False),  # a part of it
        ("tfrecords", 50_000, 1000, True),
        ("tfrecords", 49_999, 1000, False),
        ("tfrecords", 50_000, 100, False),
        ("folder", 50_000, 1000, False),
    ],
)
def test_imagenet_is_recognised_by_its_source_or_its_numbers(source, images, classes, is_so):
    _, recipe = load_recipe("imagenet-resnet50", [f"dataset.source={source}"])
    assert is_imagenet(recipe, images, classes) == is_so

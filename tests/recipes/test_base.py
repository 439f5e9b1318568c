"""A recipe that starts from another one."""

from __future__ import annotations

import pytest

from resnet.errors import UserError
from resnet.recipes import RECIPES, load_recipe


def test_a_recipe_overrides_the_settings_of_its_base(recipe_file):
    mine = recipe_file("mine.toml", 'base = "digits"\n[training]\nepochs = 3\n')
    _, recipe = load_recipe(mine)
    _, base = load_recipe("digits")
    assert recipe.training.epochs == 3
    assert recipe.training.batch_size == base.training.batch_size == 64
    assert recipe.model == base.model


def test_a_base_can_be_a_file_beside_the_recipe_and_have_a_base_too(recipe_file):
    recipe_file("deep/first.toml", 'base = "digits"\n[training]\nepochs = 3\nmomentum = 0.5\n')
    mine = recipe_file("deep/second.toml", 'base = "first.toml"\n[training]\nepochs = 4\n')
    _, recipe = load_recipe(mine, ["training.seed=9"])
    training = recipe.training
    assert (training.epochs, training.momentum, training.seed, recipe.model.depth) == (4, 0.5, 9, 20)


def test_a_recipe_keeps_its_name_with_a_base(recipe_file):
    assert load_recipe(recipe_file("mine.toml", 'base = "digits"'))[0] == "mine"


def test_the_imagenet_recipes_state_only_their_depth():
    for depth in (18, 34, 101, 152):
        text = (RECIPES / f"imagenet-resnet{depth}.toml").read_text()
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert lines == ['base = "imagenet-resnet50"', "[model]", f"depth = {depth}"]


def test_the_resolved_recipe_needs_no_base(recipe_file):
    _, recipe = load_recipe(recipe_file("mine.toml", 'base = "imagenet-resnet50"\n[model]\ndepth = 18\n'))
    assert "base" not in recipe.toml()
    assert load_recipe(recipe_file("resolved.toml", recipe.toml()))[1] == recipe


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('base = "digit"', "base: there is no recipe 'digit'; did you mean digits?"),
        ('base = "gone.toml"', "gone.toml: there is no such file"),
        ("base = 3", "base must be the name of a recipe, or the path of a .toml file"),
        ('base = "mine.toml"', "its bases lead back to itself"),
        ('base = "digits"\n[trainin]\nepochs = 3', "unknown section [trainin]; did you mean training?"),
        ('base = "digits"\nmodel = 3', "'model' must be a section: [model]"),
    ],
)
def test_a_mistake_about_the_base_is_reported_with_the_file(recipe_file, content, message):
    with pytest.raises(UserError) as caught:
        load_recipe(recipe_file("mine.toml", content))
    assert str(caught.value).startswith("recipe ")
    assert message in str(caught.value)


def test_a_cycle_of_bases_is_refused(recipe_file):
    recipe_file("a.toml", 'base = "b.toml"')
    with pytest.raises(UserError, match="its bases lead back to itself"):
        load_recipe(recipe_file("b.toml", 'base = "a.toml"'))

"""A recipe that starts from another one."""

from __future__ import annotations

import pytest

from resnet.errors import UserError
from resnet.recipes import RECIPES, load_recipe


@pytest.fixture
def write(tmp_path):
    def make(name: str, content: str) -> str:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
        return str(tmp_path / name)

    return make


def test_a_recipe_has_its_bases_settings_and_its_own_on_top(write):
    mine = write("mine.toml", 'base = "digits"\n[training]\nepochs = 3\n')
    _, recipe = load_recipe(mine)
    _, base = load_recipe("digits")
    assert recipe.training.epochs == 3
    assert recipe.training.batch_size == base.training.batch_size == 64
    assert recipe.model == base.model


def test_a_base_may_be_a_file_beside_the_recipe_and_have_a_base_itself(write):
    write("deep/first.toml", 'base = "digits"\n[training]\nepochs = 3\nmomentum = 0.5\n')
    mine = write("deep/second.toml", 'base = "first.toml"\n[training]\nepochs = 4\n')
    _, recipe = load_recipe(mine, ["training.seed=9"])
    training = recipe.training
    assert (training.epochs, training.momentum, training.seed, recipe.model.depth) == (4, 0.5, 9, 20)


def test_the_name_is_the_recipes_own(write):
    assert load_recipe(write("mine.toml", 'base = "digits"'))[0] == "mine"


def test_the_imagenet_recipes_say_only_their_depth():
    for depth in (18, 34, 101, 152):
        text = (RECIPES / f"imagenet-resnet{depth}.toml").read_text()
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert lines == ['base = "imagenet-resnet50"', "[model]", f"depth = {depth}"]


def test_the_resolved_recipe_needs_no_base(write, tmp_path):
    _, recipe = load_recipe(write("mine.toml", 'base = "imagenet-resnet50"\n[model]\ndepth = 18\n'))
    assert "base" not in recipe.toml()
    assert load_recipe(write("resolved.toml", recipe.toml()))[1] == recipe


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
def test_a_mistake_about_the_base_is_named_with_the_file(write, content, message):
    with pytest.raises(UserError) as caught:
        load_recipe(write("mine.toml", content))
    assert str(caught.value).startswith("recipe ")
    assert message in str(caught.value)


def test_a_longer_circle_of_bases_is_refused(write):
    write("a.toml", 'base = "b.toml"')
    with pytest.raises(UserError, match="its bases lead back to itself"):
        load_recipe(write("b.toml", 'base = "a.toml"'))

"""How recipe files and overrides are read, what the shipped recipes contain, and how mistakes are reported."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipe_settings import recipe_error, value_of

from resnet.recipes import load_recipe, shipped_recipes
from resnet.settings import Dataset, Recipe, declared


def test_the_imagenet_recipe_adds_only_the_expected_counts_to_the_defaults():
    _, recipe = load_recipe("imagenet-resnet50")
    assert recipe.model_dump(exclude={"dataset"}) == Recipe().model_dump(exclude={"dataset"})
    assert (recipe.dataset.train_images, recipe.dataset.validation_images, recipe.dataset.classes) == (
        1_281_167,
        50_000,
        1000,
    )


@pytest.mark.parametrize("depth", [18, 34, 101, 152])
def test_the_other_imagenet_recipes_differ_only_in_depth(depth):
    _, other = load_recipe(f"imagenet-resnet{depth}")
    _, reproduced = load_recipe("imagenet-resnet50", [f"model.depth={depth}"])
    assert other == reproduced


@pytest.mark.parametrize(
    ("name", "rate_of_256"), [("goyal", 0.1), ("nvidia90", 0.256), ("nvidia250", 0.256), ("torchvision2", 0.125)]
)
def test_recipes_for_large_batches_have_the_published_rate_for_each_256_images(name, rate_of_256):
    training = load_recipe(f"imagenet-resnet50-{name}")[1].training
    assert training.learning_rate == pytest.approx(rate_of_256 * training.batch_size / 256)
    assert training.warmup_factor in (0, 256 / training.batch_size, 0.01)


def test_torchvisions_average_is_the_published_one_for_this_batch_and_number_of_epochs():
    """In its reference code, 1 - decay is multiplied by batch_size x steps between averages / epochs."""
    training = load_recipe("imagenet-resnet50-torchvision2")[1].training
    factor = training.batch_size * training.average_steps / training.epochs
    assert 1 - training.average == pytest.approx((1 - 0.99998) * factor, rel=1e-4)


def test_a3_warms_up_from_a_ten_thousandth_and_is_evaluated_larger_than_it_is_trained():
    recipe = load_recipe("imagenet-resnet50-a3")[1]
    assert recipe.training.learning_rate * recipe.training.warmup_factor == pytest.approx(1e-4)
    assert (recipe.model.image_size, recipe.evaluation_size, recipe.evaluation.shorter_side) == (160, 224, 235)


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_loads_under_its_name(name):
    assert load_recipe(name)[0] == name


def test_recipes_for_four_kinds_of_data_are_shipped():
    sources = {load_recipe(name)[1].dataset.source for name in shipped_recipes()}
    assert sources == {"imagenet", "folder", "idx", "digits"}


def test_a_recipe_file_is_named_by_its_stem_and_changes_only_the_settings_it_states(recipe_file):
    name, recipe = load_recipe(recipe_file("short.toml", "[training]\nepochs = 7\n"))
    assert name == "short"
    assert recipe == Recipe.model_validate({"training": {"epochs": 7}})


def test_an_empty_recipe_file_means_the_defaults(recipe_file):
    assert load_recipe(recipe_file("mine.toml", ""))[1] == Recipe()


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_resolved_recipe_loads_as_the_same_recipe(name, recipe_file):
    _, recipe = load_recipe(name)
    assert load_recipe(recipe_file("mine.toml", recipe.toml()))[1] == recipe


@given(
    names=st.lists(st.text(), max_size=5),
    fraction=st.floats(0, 1, exclude_min=True, exclude_max=True),
    seed=st.integers(0, 2**63 - 1),
)
def test_any_text_and_number_in_a_recipe_survives_writing_and_loading(names, fraction, seed, tmp_path_factory):
    recipe = Recipe(dataset=Dataset(class_names=names, validation_fraction=fraction, split_seed=seed))
    path = tmp_path_factory.getbasetemp() / "resolved.toml"
    path.write_text(recipe.toml(), encoding="utf-8")
    assert load_recipe(str(path))[1] == recipe


@pytest.mark.parametrize(
    ("override", "name", "value"),
    [
        ("training.epochs=3", "training.epochs", 3),
        ("training.learning_rate=0.05", "training.learning_rate", 0.05),
        ("training.weight_decay=5e-4", "training.weight_decay", 5e-4),
        ("training.learning_rate=1", "training.learning_rate", 1.0),
        ("training.drop_epochs=[1, 2]", "training.drop_epochs", [1, 2]),
        ("training.drop_epochs=[]", "training.drop_epochs", []),
        ("augmentation.color=false", "augmentation.color", False),
        ("dataset.source=folder", "dataset.source", "folder"),
        ("dataset.name=my-photos.2", "dataset.name", "my-photos.2"),
        ('dataset.name="my-photos"', "dataset.name", "my-photos"),
        ("dataset.name='2012'", "dataset.name", "2012"),
        ("dataset.name=", "dataset.name", ""),
        ("model.stride_in=3x3", "model.stride_in", "3x3"),
        ("dataset.class_names=['a b', \"c\"]", "dataset.class_names", ["a b", "c"]),
        (" training.epochs = 3 ", "training.epochs", 3),
    ],
)
def test_an_override_changes_one_setting_only(override, name, value):
    _, recipe = load_recipe("imagenet-resnet50", [override])
    found = value_of(recipe, name)
    assert (found, type(found)) == (value, type(value))
    _, before = load_recipe("imagenet-resnet50")
    others = [f"{section}.{key}" for section, key, *_ in declared() if f"{section}.{key}" != name]
    assert all(value_of(recipe, other) == value_of(before, other) for other in others)


def test_an_override_takes_precedence_over_the_recipe_and_over_earlier_overrides(recipe_file):
    path = recipe_file("mine.toml", "[training]\nepochs = 7\n")
    assert load_recipe(path, ["training.epochs=8", "training.epochs=9"])[1].training.epochs == 9


def test_one_error_reports_every_invalid_value(recipe_file):
    message = recipe_error(recipe_file("mine.toml", "[training]\nepochs = 'a'\nmomentum = 2\n"))
    assert "training.epochs" in message
    assert "training.momentum" in message


@pytest.mark.parametrize(
    ("override", "unknown", "nearest"),
    [
        ("training.epoch=3", "training.epoch", "training.epochs"),
        ("training.lerning_rate=3", "training.lerning_rate", "training.learning_rate"),
        ("trainin.epochs=3", "[trainin]", "training"),
        ("augment.flip=true", "[augment]", "augmentation"),
        ("model.epochs=3", "model.epochs", "training.epochs"),
        ("training.image_size=32", "training.image_size", "model.image_size"),
    ],
)
def test_the_error_about_an_unknown_name_suggests_the_nearest_valid_one(override, unknown, nearest):
    message = recipe_error("imagenet-resnet50", override)
    assert unknown in message
    assert f"did you mean {nearest}?" in message, message


def test_the_error_about_a_name_that_resembles_nothing_suggests_nothing():
    message = recipe_error("imagenet-resnet50", "qqqq.vvvv=1")
    assert "[qqqq]" in message
    assert "did you mean" not in message


@pytest.mark.parametrize("override", ["epochs=3", "training.epochs", "=3", "training.=3", ".epochs=3", ""])
def test_the_error_about_a_malformed_override_quotes_it_and_shows_the_form(override):
    message = recipe_error("imagenet-resnet50", override)
    assert repr(override) in message
    assert "section.key=value" in message


def test_the_error_about_an_unknown_recipe_suggests_the_nearest_and_lists_all():
    message = recipe_error("imagenet-resnet5")
    assert "'imagenet-resnet5'" in message
    assert "did you mean imagenet-resnet50?" in message
    assert all(name in message for name in shipped_recipes())


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[training]\nepochs = \n", "not valid TOML"),
        ("[training\n", "not valid TOML"),
        (b"\xff\xfe[training]", "not valid TOML"),
        ("training = 3\n", "'training'"),
        ("[[training]]\nepochs = 3\n", "'training'"),
        ("epochs = 3\n", "[epochs]"),
        ("[trainin]\nepochs = 3\n", "[trainin]; did you mean training?"),
        ("[training]\nepoch = 3\n", "training.epoch; did you mean training.epochs?"),
        ("[training]\nepochs = 'a'\n", "training.epochs"),
    ],
)
def test_a_mistake_in_a_recipe_file_is_reported_with_the_file(content, named, recipe_file):
    path = recipe_file("mine.toml", content)
    message = recipe_error(path)
    assert path in message
    assert named in message


def test_a_mistake_in_the_toml_is_reported_with_its_line(recipe_file):
    assert "line 3" in recipe_error(recipe_file("mine.toml", "[training]\nepochs = 3\nmomentum = = 0.9\n"))


def test_the_error_about_a_missing_recipe_file_names_it(tmp_path):
    assert str(tmp_path / "gone.toml") in recipe_error(tmp_path / "gone.toml")


def test_a_folder_is_refused_as_a_recipe_file(tmp_path):
    (tmp_path / "folder.toml").mkdir()
    assert str(tmp_path / "folder.toml") in recipe_error(tmp_path / "folder.toml")


def test_the_error_about_an_override_of_something_that_is_not_a_section_quotes_it(recipe_file):
    assert "'training.epochs=3'" in recipe_error(recipe_file("mine.toml", "training = 3\n"), "training.epochs=3")


def test_an_override_that_names_no_section_is_shown_the_setting_of_that_name():
    assert recipe_error("imagenet-resnet50", "epochs=3").endswith("; did you mean training.epochs?")
    assert "did you mean" not in recipe_error("imagenet-resnet50", "nothing=3")


def test_one_value_for_a_list_is_shown_as_the_list_to_write():
    assert recipe_error("imagenet-resnet50", "evaluation.views=10-crop").endswith(
        """such as ["10-crop"], but is '10-crop'"""
    )
    assert "such as" not in recipe_error("imagenet-resnet50", "training.epochs=many")


def test_images_grow_evenly_in_whole_steps_until_they_are_as_large_as_the_networks_input():
    growing = ["training.first_image_size=128", "training.growing_epochs=30", "training.growing_pixels=32"]
    recipe = load_recipe("imagenet-resnet50", growing)[1]
    sizes = [recipe.training_size(epoch) for epoch in (0, 9, 10, 19, 20, 29, 30, 119)]
    assert sizes == [128, 128, 160, 160, 192, 192, 224, 224]
    assert load_recipe("imagenet-resnet50")[1].training_size(0) == 224

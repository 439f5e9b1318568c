"""Recipes: what the defaults are, how overrides are read, and what a mistake is answered with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from resnet.errors import UserError
from resnet.recipes import load_recipe, shipped_recipes
from resnet.settings import Dataset, Recipe, declared

unhurried = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Settings that other settings bound: tested on their own below.
COUPLED = {
    "model.image_size",
    "augmentation.scale_min",
    "augmentation.scale_max",
    "evaluation.shorter_side",
    "training.batch_size",
    "training.replica_batch_size",
}


def complaint(recipe: str | Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_recipe(str(recipe), overrides)
    return str(caught.value)


def value_of(recipe: Recipe, name: str) -> Any:
    section, key = name.split(".")
    return getattr(getattr(recipe, section), key)


def free_integers() -> dict[str, tuple[int, int]]:
    """Every setting that may be any integer between two bounds, by name."""
    found = {}
    for section, values in Recipe():
        for key, field in type(values).model_fields.items():
            if field.annotation is int and f"{section}.{key}" not in COUPLED:
                least = [bound.ge for bound in field.metadata if hasattr(bound, "ge")]
                greatest = [bound.le for bound in field.metadata if hasattr(bound, "le")]
                found[f"{section}.{key}"] = (*least, -(10**9))[0], (*greatest, 10**9)[0]
    return found


@pytest.fixture
def recipe_file(tmp_path):
    def write(content: str | bytes, name: str = "mine.toml") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_the_defaults_are_the_recipe_being_reproduced():
    recipe = Recipe()
    expected = {
        "dataset.source": "imagenet",
        "records.train_shards": 1024,
        "records.validation_shards": 128,
        "model.depth": 50,
        "model.image_size": 224,
        "model.stride_in": "1x1",
        "augmentation.crop": "scale",
        "augmentation.scale_min": 256,
        "augmentation.scale_max": 480,
        "augmentation.flip": True,
        "augmentation.color": True,
        "training.epochs": 120,
        "training.batch_size": 256,
        "training.replica_batch_size": 64,
        "training.learning_rate": 0.1,
        "training.drop_epochs": [30, 60, 90],
        "training.drop_factor": 0.1,
        "training.momentum": 0.9,
        "training.weight_decay": 1e-4,
        "training.precision": "float32",
        "batchnorm.batches": 25,
        "evaluation.views": ["1-crop"],
        "evaluation.shorter_side": 256,
    }
    assert {name: value_of(recipe, name) for name in expected} == expected
    assert recipe.training.replicas == 4


def test_the_imagenet_recipe_adds_only_what_must_be_found_to_the_defaults():
    _, recipe = load_recipe("imagenet-resnet50")
    assert recipe.model_dump(exclude={"dataset"}) == Recipe().model_dump(exclude={"dataset"})
    assert (recipe.dataset.train_images, recipe.dataset.validation_images, recipe.dataset.classes) == (
        1_281_167,
        50_000,
        1000,
    )


@pytest.mark.parametrize("depth", [18, 34, 101, 152])
def test_the_other_imagenet_recipes_differ_in_depth_alone(depth):
    _, other = load_recipe(f"imagenet-resnet{depth}")
    _, reproduced = load_recipe("imagenet-resnet50", [f"model.depth={depth}"])
    assert other == reproduced


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_loads_under_its_own_name(name):
    assert load_recipe(name)[0] == name


def test_recipes_for_four_kinds_of_data_are_shipped():
    sources = {load_recipe(name)[1].dataset.source for name in shipped_recipes()}
    assert sources == {"imagenet", "folder", "idx", "digits"}


def test_a_recipe_file_is_named_by_its_stem_and_says_only_what_differs(recipe_file):
    name, recipe = load_recipe(str(recipe_file("[training]\nepochs = 7\n", "short.toml")))
    assert name == "short"
    assert recipe == Recipe.model_validate({"training": {"epochs": 7}})


def test_an_empty_recipe_file_means_the_defaults(recipe_file):
    assert load_recipe(str(recipe_file("")))[1] == Recipe()


@pytest.mark.parametrize("name", shipped_recipes())
def test_the_resolved_recipe_reads_back_the_same(name, recipe_file):
    _, recipe = load_recipe(name)
    assert load_recipe(str(recipe_file(recipe.toml())))[1] == recipe


@given(
    names=st.lists(st.text(), max_size=5),
    fraction=st.floats(0, 1, exclude_min=True, exclude_max=True),
    seed=st.integers(0, 2**63 - 1),
)
@unhurried
def test_whatever_a_recipe_says_reads_back_the_same(names, fraction, seed, tmp_path_factory):
    recipe = Recipe(dataset=Dataset(class_names=names, validation_fraction=fraction, split_seed=seed))
    path = tmp_path_factory.getbasetemp() / "resolved.toml"
    path.write_text(recipe.toml(), encoding="utf-8")
    assert load_recipe(str(path))[1] == recipe


def test_every_setting_is_spelled_out_in_the_resolved_recipe():
    text = Recipe().toml()
    assert all(f"\n{key} = " in text for _, key, *_ in declared())


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
def test_an_override_sets_one_setting(override, name, value):
    _, recipe = load_recipe("imagenet-resnet50", [override])
    found = value_of(recipe, name)
    assert (found, type(found)) == (value, type(value))
    _, before = load_recipe("imagenet-resnet50")
    others = [f"{section}.{key}" for section, key, *_ in declared() if f"{section}.{key}" != name]
    assert all(value_of(recipe, other) == value_of(before, other) for other in others)


def test_an_override_goes_before_the_recipe_and_a_later_one_before_an_earlier(recipe_file):
    path = recipe_file("[training]\nepochs = 7\n")
    assert load_recipe(str(path), ["training.epochs=8", "training.epochs=9"])[1].training.epochs == 9


@given(data=st.data(), name=st.sampled_from(sorted(free_integers())))
@unhurried
def test_any_integer_within_its_bounds_is_a_valid_override(data, name):
    value = data.draw(st.integers(*free_integers()[name]))
    assert value_of(load_recipe("imagenet-resnet50", [f"{name}={value}"])[1], name) == value


@given(data=st.data(), name=st.sampled_from([name for name, (least, _) in free_integers().items() if least >= 0]))
@unhurried
def test_any_integer_below_its_bound_is_refused_by_name_and_value(data, name):
    value = data.draw(st.integers(-(10**9), free_integers()[name][0] - 1))
    message = complaint("imagenet-resnet50", f"{name}={value}")
    assert name in message
    assert str(value) in message


@given(
    size=st.integers(8, 1000),
    margins=st.tuples(*[st.integers(0, 1000)] * 3),
    groups=st.integers(1, 64),
    replica=st.integers(1, 512),
)
@unhurried
def test_any_crop_that_fits_and_any_even_split_of_the_batch_is_accepted(size, margins, groups, replica):
    wanted = {
        "model.image_size": size,
        "augmentation.scale_min": size + margins[0],
        "augmentation.scale_max": size + margins[0] + margins[1],
        "evaluation.shorter_side": size + margins[2],
        "training.batch_size": groups * replica,
        "training.replica_batch_size": replica,
    }
    _, recipe = load_recipe("imagenet-resnet50", [f"{name}={value}" for name, value in wanted.items()])
    assert {name: value_of(recipe, name) for name in wanted} == wanted
    assert recipe.training.replicas == groups


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("augmentation.scale_min=500", ["scale_min", "500", "scale_max", "480"]),
        ("model.image_size=300", ["augmentation.scale_min", "256", "model.image_size", "300"]),
        ("evaluation.shorter_side=200", ["evaluation.shorter_side", "200", "model.image_size", "224"]),
        ("training.batch_size=100", ["batch_size", "100", "replica_batch_size", "64"]),
        ("training.drop_epochs=[60, 30]", ["drop_epochs", "[60, 30]"]),
        ("training.drop_epochs=[30, 30]", ["drop_epochs", "[30, 30]"]),
    ],
)
def test_settings_that_contradict_each_other_are_both_named_with_their_values(override, named):
    message = complaint("imagenet-resnet50", override)
    assert all(words in message for words in named), message


def test_the_scale_does_not_bound_the_image_where_crops_do_not_scale():
    _, recipe = load_recipe("imagenet-resnet50", ["augmentation.crop=area", "model.image_size=256"])
    assert recipe.model.image_size == 256


@pytest.mark.parametrize(
    ("override", "setting", "value"),
    [
        ("training.epochs=many", "training.epochs", "'many'"),
        ("training.epochs=3.0", "training.epochs", "3.0"),
        ("training.epochs='3'", "training.epochs", "'3'"),
        ("training.epochs=true", "training.epochs", "True"),
        ("training.epochs=", "training.epochs", "''"),
        ("training.drop_epochs=30", "training.drop_epochs", "30"),
        ("training.drop_epochs=[1, 2.5]", "training.drop_epochs.1", "2.5"),
        ("training.learning_rate=fast", "training.learning_rate", "'fast'"),
        ("training.learning_rate=nan", "training.learning_rate", "nan"),
        ("augmentation.color=no", "augmentation.color", "'no'"),
        ("dataset.name=2012", "dataset.name", "2012"),
        ("dataset.name=a/b", "dataset.name", "'a/b'"),
        ("dataset.name=..", "dataset.name", "'..'"),
        ("model.depth=51", "model.depth", "51"),
        ("evaluation.views=[]", "evaluation.views", "[]"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_setting(override, setting, value):
    message = complaint("imagenet-resnet50", override)
    assert f" {setting}: " in message
    assert message.endswith(f"but is {value}")


@pytest.mark.parametrize(
    "override",
    [
        "training.learning_rate=inf",
        "training.weight_decay=inf",
        "augmentation.aspect_max=inf",
        "training.drop_epochs=[-5]",
        "training.keep_epochs=[-5]",
    ],
)
def test_a_value_that_no_run_can_mean_is_refused(override):
    assert override.partition("=")[0] in complaint("imagenet-resnet50", override)


def test_every_value_that_does_not_fit_is_told_at_once(recipe_file):
    message = complaint(recipe_file("[training]\nepochs = 'a'\nmomentum = 2\n"))
    assert "training.epochs" in message
    assert "training.momentum" in message


def test_the_choices_are_listed_where_another_is_given():
    message = complaint("imagenet-resnet50", "dataset.source=web")
    assert all(source in message for source in ("imagenet", "folder", "idx", "digits"))


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
def test_an_unknown_name_is_answered_with_the_nearest_valid_one(override, unknown, nearest):
    message = complaint("imagenet-resnet50", override)
    assert unknown in message
    assert f"did you mean {nearest}?" in message, message


def test_a_name_that_resembles_nothing_is_answered_without_a_guess():
    message = complaint("imagenet-resnet50", "qqqq.vvvv=1")
    assert "[qqqq]" in message
    assert "did you mean" not in message


@pytest.mark.parametrize("override", ["epochs=3", "training.epochs", "=3", "training.=3", ".epochs=3", ""])
def test_an_override_of_another_shape_is_quoted_and_shown_how(override):
    message = complaint("imagenet-resnet50", override)
    assert repr(override) in message
    assert "section.key=value" in message


def test_an_unknown_recipe_is_answered_with_the_nearest_and_all_others():
    message = complaint("imagenet-resnet5")
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
def test_a_mistake_in_a_recipe_file_is_told_with_the_file(content, named, recipe_file):
    path = recipe_file(content)
    message = complaint(path)
    assert str(path) in message
    assert named in message


def test_the_line_of_a_mistake_in_the_toml_is_told(recipe_file):
    assert "line 3" in complaint(recipe_file("[training]\nepochs = 3\nmomentum = = 0.9\n"))


def test_a_recipe_file_that_is_not_there_is_named(tmp_path):
    assert str(tmp_path / "gone.toml") in complaint(tmp_path / "gone.toml")


def test_a_folder_is_no_recipe_file(tmp_path):
    (tmp_path / "folder.toml").mkdir()
    assert str(tmp_path / "folder.toml") in complaint(tmp_path / "folder.toml")


def test_an_override_into_what_the_file_makes_no_section_is_quoted(recipe_file):
    assert "'training.epochs=3'" in complaint(recipe_file("training = 3\n"), "training.epochs=3")


def test_settings_that_do_not_move_the_numbers_are_no_part_of_them():
    left_out = {
        f"{section}.{key}"
        for section, values in Recipe()
        for key in set(type(values).model_fields) - set(values.affecting_results())
    }
    expectations = {"dataset.train_images", "dataset.validation_images", "dataset.classes"}
    assert left_out == expectations | {
        "records.max_rejected",
        "records.max_corrupt",
        "records.parts",
        "training.checkpoint_steps",
        "training.keep_epochs",
    }


def test_the_numbers_are_the_settings_values():
    _, recipe = load_recipe("digits", ["training.epochs=3"])
    numbers = recipe.training.affecting_results()
    assert numbers["epochs"] == 3
    assert all(value == getattr(recipe.training, key) for key, value in numbers.items())


def test_every_setting_is_declared_once_with_a_sentence_of_help_and_its_default():
    every = list(declared())
    assert [(section, key) for section, key, *_ in every] == [
        (section, key) for section, values in Recipe() for key in type(values).model_fields
    ]
    for section, key, default, unit, text in every:
        assert default == value_of(Recipe(), f"{section}.{key}")
        assert isinstance(unit, str)
        assert text.endswith("."), f"{section}.{key}: {text!r}"
        assert len(text) > 10


def test_a_recipe_cannot_be_changed_once_it_is_made():
    with pytest.raises(ValueError, match="frozen"):
        Recipe().training.epochs = 3

"""Settings: their declarations, defaults and bounds, and which of them affect results."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipe_settings import recipe_error, value_of

from resnet.errors import UserError
from resnet.recipes import load_recipe
from resnet.run import Run
from resnet.settings import Recipe, Training, declared

# Other settings limit these. A separate test below covers them.
COUPLED = {
    "model.image_size",
    "augmentation.scale_min",
    "augmentation.scale_max",
    "evaluation.image_size",
    "evaluation.shorter_side",
    "training.batch_size",
    "training.replica_batch_size",
    "training.warmup_epochs",
    "training.average_steps",
    "training.first_image_size",
    "training.growing_epochs",
    "training.growing_pixels",
}


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


def test_the_defaults_are_the_reproduced_recipe():
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


def test_the_resolved_recipe_states_every_setting():
    text = Recipe().toml()
    assert all(f"\n{key} = " in text for _, key, *_ in declared())


@given(data=st.data(), name=st.sampled_from(sorted(free_integers())))
def test_any_integer_within_its_bounds_is_accepted(data, name):
    value = data.draw(st.integers(*free_integers()[name]))
    assert value_of(load_recipe("imagenet-resnet50", [f"{name}={value}"])[1], name) == value


@given(data=st.data(), name=st.sampled_from([name for name, (least, _) in free_integers().items() if least >= 0]))
def test_the_error_about_an_integer_below_its_bound_names_setting_and_value(data, name):
    value = data.draw(st.integers(-(10**9), free_integers()[name][0] - 1))
    message = recipe_error("imagenet-resnet50", f"{name}={value}")
    assert name in message
    assert str(value) in message


@given(
    size=st.integers(8, 1000),
    margins=st.tuples(*[st.integers(0, 1000)] * 3),
    replicas=st.integers(1, 64),
    replica_batch_size=st.integers(1, 512),
)
def test_any_crop_that_fits_and_any_even_split_of_the_batch_is_accepted(size, margins, replicas, replica_batch_size):
    wanted = {
        "model.image_size": size,
        "augmentation.scale_min": size + margins[0],
        "augmentation.scale_max": size + margins[0] + margins[1],
        "evaluation.shorter_side": size + margins[2],
        "training.batch_size": replicas * replica_batch_size,
        "training.replica_batch_size": replica_batch_size,
    }
    _, recipe = load_recipe("imagenet-resnet50", [f"{name}={value}" for name, value in wanted.items()])
    assert {name: value_of(recipe, name) for name in wanted} == wanted
    assert recipe.training.replicas == replicas


@pytest.mark.parametrize(
    ("overrides", "length"),
    [
        ([], 256),
        (["model.image_size=64"], 73),
        (["evaluation.image_size=160"], 182),
        (["evaluation.crop_fraction=0.95"], 235),  # as timm rounds it
        (["evaluation.image_size=288", "evaluation.crop_fraction=1.0"], 288),
        (["model.image_size=64", "evaluation.shorter_side=256"], 256),
    ],
)
def test_the_shorter_side_follows_the_size_of_the_crop_unless_it_is_set(overrides, length):
    _, recipe = load_recipe("imagenet-resnet50", overrides)
    assert recipe.evaluation.shorter_side == length
    assert f"shorter_side = {length}\n" in recipe.toml()


@pytest.mark.parametrize(
    ("size", "set_to", "length"), [(224, "", 73), (128, "", 73), (224, "300", 300), (128, "256", 256)]
)
def test_the_shorter_side_of_a_stored_recipe_follows_an_override_unless_it_was_set(tmp_path, size, set_to, length):
    overrides = [f"model.image_size={size}", *([f"evaluation.shorter_side={set_to}"] if set_to else [])]
    Run.of("imagefolder", overrides, name="stored", artifacts=tmp_path).store()
    again = Run.of("", ["model.image_size=64"], name="stored", artifacts=tmp_path)
    assert again.recipe.evaluation.shorter_side == length


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("training.freeze=['stem']", ["freeze", "start_from"]),
        ("augmentation.scale_min=500", ["scale_min", "500", "scale_max", "480"]),
        ("model.image_size=300", ["augmentation.scale_min", "256", "model.image_size", "300"]),
        ("evaluation.shorter_side=200", ["evaluation.shorter_side", "200", "model.image_size", "224"]),
        ("training.batch_size=100", ["batch_size", "100", "replica_batch_size", "64"]),
        ("training.drop_epochs=[60, 30]", ["drop_epochs", "[60, 30]"]),
        ("training.drop_epochs=[30, 30]", ["drop_epochs", "[30, 30]"]),
    ],
)
def test_the_error_about_contradicting_settings_names_them_and_their_values(override, named):
    message = recipe_error("imagenet-resnet50", override)
    assert all(words in message for words in named), message


def test_scale_min_does_not_limit_image_size_when_crops_do_not_scale():
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
def test_the_error_about_an_invalid_value_names_setting_and_value(override, setting, value):
    message = recipe_error("imagenet-resnet50", override)
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
def test_infinite_numbers_and_negative_epochs_are_refused(override):
    assert override.partition("=")[0] in recipe_error("imagenet-resnet50", override)


def test_the_error_about_an_invalid_choice_lists_the_valid_ones():
    message = recipe_error("imagenet-resnet50", "dataset.source=web")
    assert all(source in message for source in ("imagenet", "folder", "idx", "digits"))


def test_settings_that_do_not_affect_results_are_these():
    left_out = {
        f"{section}.{key}"
        for section, values in Recipe()
        for key in set(type(values).model_fields) - set(values.affecting_results())
    }
    expectations = {"dataset.train_images", "dataset.validation_images"}
    assert left_out == expectations | {
        "dataset.name",
        "records.max_rejected",
        "records.max_corrupt",
        "records.parts",
        "training.checkpoint_steps",
        "training.keep_best",
        "training.keep_epochs",
        "training.start_from",  # the content of the weights is an input
        "evaluation.crop_fraction",  # evaluation.shorter_side follows it
    }


def test_affecting_results_returns_settings_with_their_values():
    _, recipe = load_recipe("digits", ["training.epochs=3"])
    settings = recipe.training.affecting_results()
    assert settings["epochs"] == 3
    assert all(value == getattr(recipe.training, key) for key, value in settings.items())


def test_every_setting_is_declared_once_with_a_default_and_a_sentence_of_help():
    every = list(declared())
    assert [(section, key) for section, key, *_ in every] == [
        (section, key) for section, values in Recipe() for key in type(values).model_fields
    ]
    for one in every:
        assert one.default == getattr(type(getattr(Recipe(), one.section))(), one.key)
        assert one.help.endswith("."), f"{one.section}.{one.key}: {one.help!r}"
        assert len(one.help) > 10


def test_every_setting_says_which_values_are_allowed():
    allowed = {f"{one.section}.{one.key}": one.allowed for one in declared()}
    assert allowed["training.optimizer"] == '`"sgd"`, `"lamb"`'
    assert allowed["records.train_shards"] == "whole number ≥ 1 and ≤ 99999"
    assert allowed["training.learning_rate"] == "number > 0"
    assert allowed["training.drop_epochs"] == "list of whole number ≥ 0"
    assert allowed["training.class_weights"] == '`"none"`, `"balanced"` or list of number ≥ 0'
    assert all(allowed.values())


def test_a_recipe_cannot_be_changed_after_it_is_created():
    with pytest.raises(ValueError, match="frozen"):
        Recipe().training.epochs = 3


def test_a_view_that_is_named_twice_is_an_error_that_names_it():
    message = recipe_error("imagenet-resnet50", 'evaluation.views=["10-crop", "1-crop", "10-crop"]')
    assert message.endswith("evaluation: views names one view twice: 10-crop, 1-crop, 10-crop")


def test_xla_of_a_network_with_max_pooling_needs_training_that_is_not_deterministic():
    message = recipe_error("imagenet-resnet50", "training.xla=true")
    assert "training.xla needs training.deterministic=false" in message
    assert load_recipe("imagenet-resnet50", ["training.xla=true", "training.deterministic=false"])
    assert load_recipe("digits", ["training.xla=true"])


@pytest.mark.parametrize(
    ("batch_size", "hosts", "message"),
    [
        (256, 3, "3 hosts cannot share the recipe's 4 replicas evenly: start 1, 2 or 4 hosts, or set training.batch_"),
        (192, 2, "2 hosts cannot share the recipe's 3 replicas evenly: start 1 or 3 hosts, or set"),
        (64, 2, "2 hosts cannot share a recipe of one replica evenly: start 1 host, or set .* a multiple of 2 times"),
    ],
)
def test_hosts_that_cannot_share_the_replicas_are_told_which_number_can(batch_size, hosts, message):
    with pytest.raises(UserError, match=message):
        Training(batch_size=batch_size, replica_batch_size=64).require_even_shares(hosts)


def test_hosts_that_can_share_the_replicas_are_not_refused():
    for hosts in (1, 2, 3, 4, 6, 12):
        Training(batch_size=12 * 64, replica_batch_size=64).require_even_shares(hosts)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["training.warmup_epochs=5", "training.epochs=5"], r"warmup_epochs \(5\) must be fewer than epochs \(5\)"),
        (["training.warmup_epochs=31"], "drop_epochs: 30 is within the warm-up of 31 epochs"),
        (
            ["training.schedule=cosine", "training.final_learning_rate=0.2"],
            r"final_learning_rate \(0.2\) is greater than learning_rate \(0.1\)",
        ),
        (["training.optimizer=lamb"], 'decay_kind is "coupled": set it to "lamb", which optimizer = "lamb" needs'),
        (["training.decay_kind=lamb"], 'decay_kind is "lamb": set it to "coupled" or "decoupled"'),
    ],
)
def test_settings_of_the_optimizer_that_do_not_go_together_are_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        load_recipe("imagenet-resnet50", wrong)


@pytest.mark.parametrize(
    ("setting", "needed"),
    [
        ("warmup_factor=0.1", ["warmup_epochs=1"]),
        ("final_learning_rate=0.001", ["schedule=cosine"]),
        ("binary_threshold=0.2", ["loss=binary"]),
        ("average_steps=5", ["average=0.9"]),
        ("growing_epochs=5", ["first_image_size=128"]),
        ("growing_pixels=8", ["first_image_size=128"]),
    ],
)
def test_a_setting_that_has_no_effect_is_refused_with_the_one_that_it_needs(setting, needed):
    name = setting.partition("=")[0]
    message = (
        rf"training\.{setting} has no effect without training\.{needed[0].partition('=')[0]}.*, or training\.{name}="
    )
    with pytest.raises(UserError, match=message):
        load_recipe("imagenet-resnet50", [f"training.{setting}"])
    load_recipe("imagenet-resnet50", [f"training.{one}" for one in (setting, *needed)])


def test_a_shipped_recipe_can_be_told_to_do_without_what_it_has_settings_for():
    with pytest.raises(
        UserError, match=r"training\.warmup_factor=0\.25 has no effect .*, or training\.warmup_factor=0\.0"
    ):
        load_recipe("imagenet-resnet50-goyal", ["training.warmup_epochs=0"])
    load_recipe("imagenet-resnet50-goyal", ["training.warmup_epochs=0", "training.warmup_factor=0.0"])


def test_a_stored_recipe_with_a_setting_that_does_nothing_goes_on_unless_that_is_given_now(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(Recipe.model_validate({"training": {"average_steps": 32}}).toml())
    assert load_recipe(str(path), lenient=True)[1].training.average_steps == 32
    with pytest.raises(UserError, match="average_steps=16 has no effect"):
        load_recipe(str(path), ["training.average_steps=16"], lenient=True)


def test_a_cosine_has_no_drops_and_may_warm_up_beyond_them():
    _, recipe = load_recipe("imagenet-resnet50", ["training.schedule=cosine", "training.warmup_epochs=40"])
    assert recipe.training.drops == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "[1,2,-3]",
            r"^recipe \S+ with training\.class_weights=\[1,2,-3\]: training\.class_weights\.2: it should be greater",
        ),
        ("even", "training.class_weights: it should be 'none' or 'balanced', or a list, but is 'even'$"),
    ],
)
def test_a_setting_of_two_forms_is_refused_by_the_form_that_it_has(value, message):
    with pytest.raises(UserError, match=message) as caught:
        load_recipe("digits", [f"training.class_weights={value}"])
    assert len(str(caught.value).splitlines()) == 1

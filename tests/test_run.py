"""The name of a run, and where its artifacts go."""

from __future__ import annotations

import pytest

from resnet.errors import UserError
from resnet.run import Run


@pytest.fixture
def run_of(tmp_path):
    def make(*overrides: str, recipe: str = "digits", **options) -> Run:
        return Run.of(recipe, overrides, artifacts=tmp_path / "artifacts", **options)

    return make


@pytest.mark.parametrize("name", ["a/b", "../a", "/a", "a/", "..", ".hidden", "-a", "a b", "a\n", "a\0", "ü"])
def test_a_run_name_that_is_not_a_plain_folder_name_is_refused(run_of, name):
    with pytest.raises(UserError) as caught:
        run_of(name=name)
    assert repr(name) in str(caught.value)


def test_a_run_without_a_name_is_named_after_its_recipe(run_of, tmp_path):
    assert run_of().folder == tmp_path / "artifacts" / "runs" / "digits"
    assert run_of(name="try-2.b_c").folder == tmp_path / "artifacts" / "runs" / "try-2.b_c"


def test_records_are_named_after_the_data_set_else_its_folder_else_its_source(run_of, tmp_path):
    assert run_of("dataset.name=mine", recipe="imagefolder", data=tmp_path / "cats").records_name == "mine"
    assert run_of(recipe="imagefolder", data=tmp_path / "my cats!").records_name == "my-cats"
    assert run_of(recipe="imagefolder", data="/").records_name == "folder"
    assert run_of(recipe="imagefolder").records_name == "folder"


def test_relative_paths_and_the_home_folder_are_resolved_immediately(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    run = Run.of("imagefolder", artifacts="results", data="~/photographs")
    assert (run.artifacts, run.data) == (tmp_path / "results", tmp_path / "home" / "photographs")


@pytest.fixture
def stored(tmp_path) -> Run:
    """A run that has stored its recipe, with other settings than the shipped one."""
    run = Run.of("imagefolder", ["training.epochs=3"], name="mine", artifacts=tmp_path, data="/data/pets")
    run.store()
    return run


def test_a_run_that_exists_goes_on_with_its_own_recipe_and_data_where_none_are_given(stored, tmp_path):
    again = Run.of(name="mine", artifacts=tmp_path)
    assert again.recipe == stored.recipe
    assert (again.recipe_name, again.data) == ("imagefolder", stored.data)
    assert again.note == f"run mine goes on with its own recipe, {tmp_path}/runs/mine/recipe.toml"


def test_overrides_change_the_stored_recipe(stored, tmp_path):
    changed = Run.of(overrides=["batchnorm.batches=3"], name="mine", artifacts=tmp_path)
    assert (changed.recipe.batchnorm.batches, changed.recipe.training.epochs) == (3, 3)
    assert changed.note.endswith("/runs/mine/recipe.toml, and batchnorm.batches=3")


def test_a_recipe_that_is_given_counts_and_the_data_folder_stays(stored, tmp_path):
    given = Run.of("imagefolder", name="mine", artifacts=tmp_path)
    assert given.recipe.training.epochs == 60
    assert given.data == stored.data
    assert given.note == ""


def test_a_new_run_takes_the_default_recipe(stored, tmp_path):
    new = Run.of(name="another", artifacts=tmp_path, default_recipe="fashion-mnist")
    assert (new.recipe_name, new.name) == ("fashion-mnist", "another")
    assert new.note == "run another is new, with the recipe fashion-mnist"


def test_a_name_that_is_nearly_that_of_a_run_is_new_only_with_a_recipe(stored, tmp_path):
    with pytest.raises(UserError, match=r"there is no run 'mien'; did you mean mine\? .* needs --recipe"):
        Run.of(name="mien", artifacts=tmp_path)
    assert Run.of("digits", name="mien", artifacts=tmp_path).note == ""
    assert Run.of(name="mine2", artifacts=tmp_path).note == "run mine2 is new, with the recipe digits"  # of a series


def test_the_run_of_the_default_recipe_is_named_like_it_and_goes_on_too(tmp_path):
    Run.of("digits", ["training.epochs=3"], artifacts=tmp_path).store()
    assert Run.of(artifacts=tmp_path).recipe.training.epochs == 3


def test_a_run_with_the_default_recipe_goes_on_without_a_note(tmp_path):
    Run.of(artifacts=tmp_path).store()
    assert Run.of(artifacts=tmp_path).note == ""


def test_a_stored_setting_that_does_not_exist_any_more_is_left_out_with_a_warning(stored, tmp_path, capsys):
    text = (
        stored.stored_recipe.read_text()
        .replace("[training]", "[training]\nold = 3\n")
        .replace("[model]", "[old]\na = 1\n[model]")
    )
    stored.stored_recipe.write_text(text)
    (stored.folder / "run.json").unlink()
    assert Run.of(name="mine", artifacts=tmp_path).recipe == stored.recipe
    said = capsys.readouterr().err
    assert "there is no setting training.old any more" in said
    assert "there is no setting old.a any more" in said


def test_a_stored_recipe_with_another_byte_is_not_used_unless_it_is_given(stored, tmp_path):
    stored.stored_recipe.write_text(stored.stored_recipe.read_text().replace("\nepochs = 3", "\nepochs = 2"))
    with pytest.raises(UserError, match=r"recipe\.toml is corrupt .* give `luigi` a recipe: this one with --recipe"):
        Run.of(name="mine", artifacts=tmp_path)
    assert Run.of(str(stored.stored_recipe), name="mine", artifacts=tmp_path).recipe.training.epochs == 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"recipe": "digits"}', "\x00"])
def test_a_corrupt_run_json_is_an_error_that_names_it(stored, tmp_path, content):
    (stored.folder / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run\.json is corrupt"):
        Run.of(name="mine", artifacts=tmp_path)


def test_a_run_of_an_earlier_version_has_stored_its_recipe_only(stored, tmp_path):
    (stored.folder / "run.json").unlink()
    again = Run.of(name="mine", artifacts=tmp_path)
    assert (again.recipe, again.recipe_name, again.data) == (stored.recipe, "mine", None)


@pytest.mark.parametrize("name", ["train", "Train"])
def test_a_stage_to_discard_is_given_by_name_or_title(tmp_path, name):
    assert Run.of("digits", artifacts=tmp_path, discard=[name]).discard == {"train"}


def test_a_stage_to_discard_that_does_not_exist_is_refused_with_the_names_that_do(tmp_path):
    with pytest.raises(UserError, match="there is no stage 'training': it is one of convert, train, batchnorm"):
        Run.of("digits", artifacts=tmp_path, discard=["training"])


def test_a_run_killed_while_it_stores_another_recipe_goes_on_with_the_one_before(stored, tmp_path, monkeypatch):
    other = Run.of("imagefolder", ["training.epochs=4"], name="mine", artifacts=tmp_path, data="/data/pets")
    monkeypatch.setattr("resnet.run.atomic", None)  # between its two files
    with pytest.raises(TypeError):
        other.store()
    assert Run.of(name="mine", artifacts=tmp_path).recipe == stored.recipe


def test_a_run_that_goes_on_states_what_its_recipe_stated_and_leaves_out_what_that_left_out(tmp_path):
    Run.of("digits", ["model.normalization=unit"], name="mine", artifacts=tmp_path).store()
    again = Run.of(name="mine", artifacts=tmp_path, overrides=["evaluation.interpolation=opencv-linear"])
    stated = {"model.normalization", "evaluation.interpolation"}
    assert stated <= set(again.recipe.stated)
    assert not {"model.epsilon", "model.stride_in"} & set(again.recipe.stated)

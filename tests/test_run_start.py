"""What `training.start_from` names: a file, wherever the command is called from, or another run."""

from __future__ import annotations

import pytest

from resnet.errors import UserError
from resnet.run import Run


def start_from(tmp_path, place: str, recipe: str = "digits", **options) -> str:
    run = Run.of(recipe, [f"training.start_from={place}"], artifacts=tmp_path, **options)
    return run.recipe.training.start_from


@pytest.mark.parametrize("place", ["resnet50.pth", "deep/weights", "./mine", "resnet50.SafeTensors"])
def test_a_file_is_looked_for_from_the_folder_that_the_command_is_called_from(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    assert start_from(tmp_path, place) == str(tmp_path / place)


def test_the_home_folder_is_resolved(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert start_from(tmp_path, "~/resnet50.pth") == str(tmp_path / "home" / "resnet50.pth")


def test_a_run_that_goes_on_from_another_folder_means_the_same_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Run.of("digits", ["training.start_from=w.h5"], name="mine", artifacts=tmp_path).store()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = Run.of(name="mine", artifacts=tmp_path)
    assert again.recipe.training.start_from == str(tmp_path / "w.h5")


def test_anything_else_is_the_name_of_a_run(tmp_path):
    assert start_from(tmp_path, "my-first.run") == "my-first.run"


@pytest.mark.parametrize("place", ["..", "my run", "-a", "ü"])
def test_what_neither_a_file_nor_a_run_can_be_called_is_refused(tmp_path, place):
    with pytest.raises(UserError, match=r"is neither a file .* nor the name of a run") as caught:
        start_from(tmp_path, place)
    assert repr(place) in str(caught.value)


def test_a_run_does_not_start_from_itself(tmp_path):
    with pytest.raises(
        UserError, match=r"^training.start_from: run mine cannot start from itself\. Give the new training a name"
    ):
        start_from(tmp_path, "mine", name="mine")


def test_the_recipe_for_fine_tuning_asks_for_weights(tmp_path):
    with pytest.raises(UserError) as caught:
        Run.of("finetune", artifacts=tmp_path)
    assert str(caught.value).startswith("recipe finetune starts from trained weights. Say from which: --override ")
    assert start_from(tmp_path, "mine.pth", recipe="finetune") == str(tmp_path.cwd() / "mine.pth")

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

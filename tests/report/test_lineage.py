"""The lineage of a result, and the commands that repeat it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from made_runs import MadeRun

from resnet.ledger.state_files import read_state, write_state
from resnet.recipes import load_recipe, split_override
from resnet.report.lineage import repetition, stage_facts
from resnet.report.made import parameters

PACKAGES = {"packages": {"tensorflow-cpu": "2.21.0"}, "git_commit": "ab" * 20}


@pytest.fixture
def repeated(tmp_path, results_of):
    """repeated(run, **facts): how a made run is repeated; the facts go into its Train's stage.json."""

    def repeat(run: MadeRun, **facts):
        ledger = run.write(tmp_path / "artifacts")
        path = ledger.run.stage_folder("train") / "stage.json"
        write_state(path, read_state(path) | PACKAGES | facts)
        return repetition(results_of(ledger))

    return repeat


def luigi_options(commands: list[str]) -> dict[str, str]:
    (line,) = (command for command in commands if "bin/luigi" in command)
    words = shlex.split(line)
    return {word.removeprefix("--"): words[place + 1] for place, word in enumerate(words[:-1]) if word.startswith("--")}


@pytest.mark.parametrize(
    "overrides",
    [[], ["training.epochs=3", "training.drop_epochs=[1, 2]", "augmentation.flip=true"], ["dataset.name=it-s.me"]],
)
def test_the_luigi_command_gives_the_same_recipe(repeated, overrides, tmp_path):
    run = MadeRun(overrides=overrides, name="mine")
    options = luigi_options(repeated(run).commands)
    given = split_override(options["override"])
    assert options["run"] == "mine"
    stored = load_recipe(str(tmp_path / "artifacts/runs/mine/recipe.toml"))[1]
    assert load_recipe(options["recipe"], given)[1] == stored


def test_a_recipe_of_ones_own_is_saved_from_the_page(repeated, tmp_path):
    recipe = tmp_path / "my recipe.toml"
    recipe.write_text('base = "digits"\n[training]\nepochs = 7\n')
    repetition = repeated(MadeRun(recipe=str(recipe), name="mine"))
    assert repetition.needs_recipe_file
    assert luigi_options(repetition.commands)["recipe"] == "my recipe.toml"


def test_names_in_the_commands_are_quoted_for_the_shell(repeated):
    imported = {"file": "/weights/$(rm -rf ~) 'a'.pth", "sha256": "cd" * 32}
    commands = repeated(MadeRun(name="mine"), imported=imported).commands
    (line,) = (command for command in commands if "import-weights" in command)
    assert imported["file"] in shlex.split(line)
    assert any(command.startswith(f"sha256sum {shlex.quote(imported['file'])}  # {'cd' * 32}") for command in commands)


def test_the_commands_check_out_the_commit_and_install_its_lock_file(repeated):
    commands = repeated(MadeRun()).commands
    assert f"git checkout {'ab' * 20}" in commands
    assert any("--require-hashes -r requirements/cpu.lock" in command for command in commands)
    on_gpus = repeated(MadeRun(name="gpu"), packages={"tensorflow": "2.21.0"}).commands
    assert any("requirements/gpu.lock" in command for command in on_gpus)


@pytest.mark.parametrize(
    ("facts", "caution"),
    [
        ({"git_commit": "ab" * 20 + "+changes"}, "The code had changes that are not in this commit."),
        ({"git_commit": None}, "The code was not in a git checkout, so its commit is not known."),
        ({"started_from": {"run": "first", "sha256": "ef" * 32, "new": []}}, f"run first (SHA-256 {'ef' * 32})"),
        ({"corrupt_records": ["a"]}, "Corrupt records were substituted"),
    ],
)
def test_what_stands_in_the_way_of_the_same_bytes_is_said(repeated, facts, caution):
    assert caution in " ".join(repeated(MadeRun(), **facts).cautions)


def test_a_training_that_is_not_deterministic_promises_no_bytes(repeated):
    caution = "training.deterministic was false"
    assert caution in " ".join(repeated(MadeRun(overrides=["training.deterministic=false"])).cautions)
    assert caution not in " ".join(repeated(MadeRun(name="other")).cautions)


def test_each_stage_names_what_it_was_made_from(tmp_path, results_of):
    results = results_of(MadeRun().write(tmp_path))
    rows = {row.title: row for row in stage_facts(results)}
    assert list(rows) == ["ConvertRecords", "Train", "BatchNormStatistics", "Evaluate"]
    assert rows["Train"].made_from["ConvertRecords"] == rows["ConvertRecords"].digest
    assert rows["Evaluate"].made_from["BatchNormStatistics"] == rows["BatchNormStatistics"].digest
    assert rows["ConvertRecords"].made_from == {"images (their listing)": "digits of scikit-learn"}


def test_parameters_are_counted_without_statistics(tmp_path):
    shapes = {"conv/kernel": [3, 3, 1, 8], "norm/scale": [8], "norm/mean": [8], "norm/variance": [8]}
    header = {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    text = json.dumps(header | {"__metadata__": {}}).encode()
    path = tmp_path / "weights.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    assert parameters(path) == 3 * 3 * 8 + 8


@pytest.mark.parametrize("content", [None, b"", b"\x05", b"\xff" * 20, b"\x02\0\0\0\0\0\0\0[]"])
def test_a_file_that_is_no_weights_has_no_known_parameters(tmp_path, content):
    path = Path(tmp_path / "weights.safetensors")
    if content is not None:
        path.write_bytes(content)
    assert parameters(path) is None

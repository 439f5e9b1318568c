"""The documentation agrees with the code."""

import configparser
import json
import re
import sys
from pathlib import Path

import pytest

from resnet.recipes import load_recipe, shipped_recipes
from resnet.settings import settings_page

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "artifacts" / "README.md"]


def test_the_settings_page_is_the_output_of_the_settings_command():
    assert (ROOT / "docs" / "settings.md").read_text() == settings_page()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_point_to_existing_files(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_the_readme_names_every_recipe():
    readme = (ROOT / "README.md").read_text()
    with_depth = {"imagenet": "18", "torchvision": "50", "keras": "50"}  # the one that is written out
    for name in shipped_recipes():
        depth = with_depth.get(name.split("-")[0], "")
        names = {name, re.sub("resnet[0-9]+", f"resnet{depth}", name)} if depth else {name}
        assert any(f"`{each}`" in readme for each in names), name


def test_pictures_are_small_enough_for_git():
    assert all(path.stat().st_size < 1_000_000 for path in (ROOT / "docs").iterdir())


def test_the_drawing_of_the_layers_has_every_module_of_the_contract():
    drawn = re.findall(r'class="name">(?:resnet/)?([^<]+)<', (ROOT / "docs" / "layers.svg").read_text())
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][1]["layers"]
    expected = ["pipeline", *(name for layer in layers for name in layer.split(" | "))]
    assert [name.strip("/") for name in drawn] == expected


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_pages_list_the_exit_codes_that_luigi_is_configured_with(page):
    cfg = configparser.ConfigParser()
    cfg.read(ROOT / "luigi.cfg")
    text = " ".join((ROOT / page).read_text().split())
    codes = {"0": "done", **dict.fromkeys(cfg["retcode"].values(), "")}
    listed = set(re.findall(r"(?:^|\| |with |, |and )(\d+) (?:\||when|for)", text))
    assert set(codes) <= listed


def test_the_recipes_in_the_pages_can_be_used(tmp_path):
    examples = [text for page in PAGES for text in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)]
    assert len(examples) >= 2
    for example in examples:
        (tmp_path / "recipe.toml").write_text(example)
        assert load_recipe(str(tmp_path / "recipe.toml"))[1].dataset.source == "folder"


def test_the_overrides_in_the_pages_can_be_used():
    lists = re.findall(r"--override '(\[[^']*\])'", "".join(page.read_text() for page in PAGES))
    assert len(lists) >= 4
    for overrides in lists:
        load_recipe("imagefolder", [text.replace("=N", "=3") for text in json.loads(overrides)])


def test_every_test_that_the_page_on_reliability_names_exists():
    missing, file = [], Path()
    for name in re.findall(
        r"`((?:[a-z_]+/)*test_[a-z0-9_]+(?:\.py)?)`", (ROOT / "docs" / "reliability.md").read_text()
    ):
        if name.endswith(".py"):
            file = ROOT / "tests" / name
            missing += [name] if not file.exists() else []
        elif f"def {name}(" not in file.read_text():
            missing.append(f"{file.name}: {name}")
    assert not missing

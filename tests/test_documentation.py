"""What the pages say is what the code does."""

import re
from pathlib import Path

import pytest

from resnet.recipes import shipped_recipes
from resnet.settings import settings_page

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "artifacts" / "README.md"]


def test_the_page_of_settings_is_what_the_command_prints():
    assert (ROOT / "docs" / "settings.md").read_text() == settings_page()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_the_readme_names_every_recipe():
    readme = (ROOT / "README.md").read_text()
    short = {re.sub(r"resnet(34|50|101|152)$", "resnet18", name) for name in shipped_recipes()}
    assert all(f"`{name}`" in readme for name in short)


def test_pictures_are_small_enough_for_git():
    assert all(path.stat().st_size < 1_000_000 for path in (ROOT / "docs").iterdir())

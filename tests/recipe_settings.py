"""A recipe's settings by name, and the error that a wrong one causes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from resnet.errors import UserError
from resnet.recipes import load_recipe
from resnet.settings import Recipe


def value_of(recipe: Recipe, name: str) -> Any:
    section, key = name.split(".")
    return getattr(getattr(recipe, section), key)


def recipe_error(recipe: str | Path, *overrides: str) -> str:
    """The message of the error that loading this recipe raises."""
    with pytest.raises(UserError) as caught:
        load_recipe(str(recipe), overrides)
    return str(caught.value)

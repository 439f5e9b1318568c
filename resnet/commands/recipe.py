"""Print a recipe with every setting spelled out: a file to start from."""

from __future__ import annotations

import argparse

from resnet.recipes import load_recipe


def main(options: argparse.Namespace) -> None:
    """Print the recipe that the options name."""
    _, recipe = load_recipe(options.recipe or "digits", options.override)
    print(recipe.toml(), end="")

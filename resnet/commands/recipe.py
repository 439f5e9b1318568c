"""Print a recipe with every setting spelled out: a file to start from."""

from __future__ import annotations

import argparse

from resnet.recipes import load_recipe, split_override


def main(options: argparse.Namespace) -> None:
    """Print the recipe that the options name."""
    overrides = [override for text in options.override for override in split_override(text)]
    _, recipe = load_recipe(options.recipe or "digits", overrides)
    print(recipe.toml(), end="")

"""Every setting with its default and meaning: docs/settings.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from resnet.settings.recipe import Recipe


def declared() -> Iterator[tuple[str, str, Any, str, str]]:
    """Every setting as (section, key, default, unit, help), in the order of declaration."""
    for section, value in Recipe():
        defaults = type(value)()
        for key, field in type(value).model_fields.items():
            yield section, key, getattr(defaults, key), field.json_schema_extra["unit"], field.description or ""


def settings_page() -> str:
    """docs/settings.md: every setting with default, unit and meaning."""
    lines = [
        "# Settings of a recipe",
        "",
        "Written by `python -m resnet settings`. The defaults are the recipe being reproduced: ResNet-50 on ImageNet.",
        "`python -m resnet recipe --recipe NAME` prints the settings of a recipe.",
        "",
        "| setting | default | unit | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for section, key, default, unit, meaning in declared():
        lines.append(f"| `{section}.{key}` | `{json.dumps(default)}` | {unit} | {meaning} |")
    return "\n".join(lines) + "\n"

"""Every setting with its default and meaning: docs/settings.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from resnet.settings.recipe import Recipe

LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


class Declared(NamedTuple):
    """A setting as its section declares it. `allowed`: its values or bounds, in words."""

    section: str
    key: str
    default: Any
    allowed: str
    unit: str
    help: str


def declared() -> Iterator[Declared]:
    """Every setting, in the order of declaration."""
    for section, value in Recipe():
        defaults = type(value)()
        for key, field in type(value).model_fields.items():
            extra: Any = field.json_schema_extra
            allowed = _allowed(field.annotation, field.metadata)
            yield Declared(section, key, getattr(defaults, key), allowed, extra["unit"], field.description or "")


def _allowed(kind: Any, bounds: Sequence[Any]) -> str:
    """The values that a setting may have: "`sgd`, `lamb`", "whole number ≥ 1", "list of number ≥ 0"."""
    if get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        return _allowed(kind, [*more, *bounds])
    if isinstance(kind, FieldInfo):
        return ""
    if get_origin(kind) is Literal:
        return ", ".join(f"`{json.dumps(value)}`" for value in get_args(kind))
    if get_origin(kind) is list:
        (item,) = get_args(kind)
        return f"list of {_allowed(item, [])}"
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_allowed(one, []) for one in get_args(kind))
    names = {bool: "`true`, `false`", str: "text", int: "whole number", float: "number"}
    return f"{names[kind]}{_bounds(bounds)}"


def _bounds(metadata: Sequence[Any]) -> str:
    """ " ≥ 1 and ≤ 99999", " > 0"."""
    limits = {name: getattr(one, name) for one in _flat(metadata) for name in LIMITS if hasattr(one, name)}
    words = [f"{LIMITS[name]} {limit:g}" for name, limit in limits.items()]
    return f" {' and '.join(words)}" if words else ""


def _flat(metadata: Sequence[Any]) -> Iterator[Any]:
    for one in metadata:
        yield from one.metadata if isinstance(one, FieldInfo) else [one]


def settings_page() -> str:
    """docs/settings.md: every setting with default, unit and meaning."""
    lines = [
        "# Settings of a recipe",
        "",
        "Written by `python -m resnet settings`. The defaults are the recipe being reproduced: ResNet-50 on ImageNet.",
        "`python -m resnet recipe --recipe NAME` prints the settings of a recipe.",
        "",
        "| setting | default | allowed | unit | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in declared():
        name, default = f"`{one.section}.{one.key}`", f"`{json.dumps(one.default)}`"
        lines.append(f"| {name} | {default} | {one.allowed} | {one.unit} | {one.help} |")
    return "\n".join(lines) + "\n"

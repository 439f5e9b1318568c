"""Recipes: the shipped .toml files beside this module, and how any recipe file is read.

A recipe states what it changes. It may name a `base`, another recipe that it starts from; the outermost base starts
from the defaults of `resnet.settings`.
"""

from __future__ import annotations

import difflib
import json
import logging
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from resnet.errors import UserError
from resnet.settings import Recipe, Training, without_derived, without_unstated

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

logger = logging.getLogger(__name__)

RECIPES = Path(__file__).parent


def load_recipe(
    recipe: str, overrides: Sequence[str] = (), *, lenient: bool = False, stated: Collection[str] = ()
) -> tuple[str, Recipe]:
    """Read a shipped recipe by name, or a TOML file by path, then apply `section.key=value` overrides.

    `lenient` is for a recipe that a run stored, with every setting spelled out. It leaves out settings that do not
    exist any more, and says so; and `stated` are those that the run's own recipe had stated (`Recipe.stated`).
    Returns the recipe's name (the file's, without .toml) and the validated settings.
    Raises UserError that names the file, the setting, and the nearest valid name.
    """
    path = _find(recipe)
    values = _read(path)
    if lenient:
        values = without_unstated(without_derived(_known(values, path)), stated)
    for override in overrides:
        _apply(override, values)
    where = f"recipe {path}" + (f" with {', '.join(overrides)}" if overrides else "")
    _reject_unknown(values, where)
    try:
        loaded = Recipe.model_validate(values)
    except ValidationError as error:
        raise UserError("\n".join(f"{where}: {line}" for line in _sentences(error))) from None
    given = {override.partition("=")[0].strip() for override in overrides}
    _require_effects(loaded, where, only=given if lenient else None)  # a run goes on, whatever it has stored
    return path.stem, loaded


def split_override(text: str) -> list[str]:
    """The overrides in one `--override`: one as it is, or a JSON list of several. Raises UserError."""
    if text.lstrip().startswith("{"):
        raise UserError(
            f"--override {text}: this is a JSON object. Write one setting as --override section.key=value, and several "
            "with as many --override, or as a JSON list: --override '[\"section.key=value\", ...]'."
        )
    if not text.lstrip().startswith("["):
        return [text]
    try:
        overrides = json.loads(text)
        if not all(isinstance(override, str) for override in overrides):
            raise ValueError("it has something else than texts")
        return overrides
    except ValueError:
        raise UserError(
            f"--override {text}: this is no JSON list of texts. Write it as --override '[\"section.key=value\", ...]', "
            "with both kinds of quotes."
        ) from None


def shipped_recipes() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def _find(recipe: str, relative_to: Path = Path()) -> Path:
    if recipe.endswith(".toml"):
        path = relative_to / recipe
        if not path.is_file():
            raise UserError(f"recipe {path}: there is no such file")
        return path
    shipped = shipped_recipes()
    if recipe not in shipped:
        raise UserError(
            f"there is no recipe {recipe!r}{_nearest(recipe, shipped)} "
            f"Give the path of a .toml file, or one of: {', '.join(shipped)}."
        )
    return RECIPES / f"{recipe}.toml"


def _read(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a recipe file, on top of those of its base."""
    if path in extended_by:
        raise UserError(f"recipe {path}: its bases lead back to itself")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"recipe {path}: this is not valid TOML: {error}") from None
    except OSError as error:
        raise UserError(f"recipe {path}: cannot be read: {error.strerror}") from None
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise UserError(f"recipe {path}: base must be the name of a recipe, or the path of a .toml file")
    try:
        merged = _read(_find(base, relative_to=path.parent), (*extended_by, path))
    except UserError as error:
        raise error if str(error).startswith("recipe ") else UserError(f"recipe {path}: base: {error}") from None
    for section, settings in values.items():
        both = isinstance(settings, dict) and isinstance(merged.get(section), dict)
        merged[section] = merged[section] | settings if both else settings
    return merged


def _apply(override: str, values: dict[str, Any]) -> None:
    name, equals, text = override.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and section and key):
        meant = [f"{section}.{name.strip()}" for section, one in Recipe() if name.strip() in type(one).model_fields]
        hint = f"; did you mean {meant[0]}?" if meant else ""
        raise UserError(f"override {override!r}: write it as section.key=value, such as training.epochs=3{hint}")
    if not isinstance(values.setdefault(section, {}), dict):
        raise UserError(f"override {override!r}: {section!r} is not a section of this recipe")
    try:
        values[section][key] = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        values[section][key] = text.strip()  # a bare word: text needs no quotes on the command line


def _known(values: dict[str, Any], path: Path) -> dict[str, Any]:
    known = {name: set(type(section).model_fields) for name, section in Recipe()}
    kept: dict[str, Any] = {}
    for section, settings in values.items():
        for key, value in settings.items() if isinstance(settings, dict) else ():
            if key in known.get(section, ()):
                kept.setdefault(section, {})[key] = value
            else:
                logger.warning("%s: there is no setting %s.%s any more; it is left out", path, section, key)
    return kept


def _reject_unknown(values: dict[str, Any], where: str) -> None:
    sections = {name: list(type(section).model_fields) for name, section in Recipe()}
    for section, keys in values.items():
        if section not in sections:
            raise UserError(f"{where}: unknown section [{section}]{_nearest(section, list(sections))}")
        if not isinstance(keys, dict):
            raise UserError(f"{where}: {section!r} must be a section: [{section}]")
        for key in keys:
            if key not in sections[section]:
                here = {name: f"{section}.{name}" for name in sections[section]}
                anywhere = {name: f"{other}.{name}" for other in reversed(sections) for name in sections[other]}
                if key in anywhere:
                    hint = f"; did you mean {anywhere[key]}?"
                else:
                    nearest = difflib.get_close_matches(key, here, n=1) or difflib.get_close_matches(key, anywhere, n=1)
                    hint = f"; did you mean {(anywhere | here)[nearest[0]]}?" if nearest else "."
                raise UserError(f"{where}: unknown setting {section}.{key}{hint}")


def _require_effects(recipe: Recipe, where: str, only: Collection[str] | None) -> None:
    """Raise UserError for a setting that does nothing; of all settings, or of those named in `only`."""
    defaults = Training()
    for name, need in recipe.training.without_effect.items():
        if only is None or f"training.{name}" in only:
            value, default = getattr(recipe.training, name), getattr(defaults, name)
            raise UserError(
                f"{where}: training.{name}={value} has no effect without training.{need}: set that too, or "
                f"training.{name}={default}"
            )


def _nearest(name: str, valid: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else "."


def _sentences(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        parts = [str(part) for part in problem["loc"]]
        name = ".".join(part for part in parts if "[" not in part)  # pydantic's names of the forms that it may have
        may_be_word_or_list = len(name) < len(".".join(parts))
        other_form = "literal_error" if isinstance(problem["input"], list) else "list_type"
        if may_be_word_or_list and problem["type"] == other_form:
            continue  # of a list, what is wrong with it is said; of anything else, which words there are
        if problem["type"] == "value_error":
            yield f"{name}: {problem['ctx']['error']}" if name else str(problem["ctx"]["error"])
        else:
            message, form = problem["msg"][0].lower() + problem["msg"][1:], ""
            if problem["type"] == "list_type":
                form = f", such as [{json.dumps(problem['input'])}]"
            elif may_be_word_or_list and problem["type"] == "literal_error":
                form = ", or a list"
            yield f"{name}: {message.replace('input', 'it')}{form}, but is {problem['input']!r}"

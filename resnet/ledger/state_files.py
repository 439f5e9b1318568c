"""stage.json and begun.json: JSON objects that carry their own checksum.

A file that is missing means "not done". One that is there and cannot be read, or whose checksum does not match, is an
error: it may describe days of work.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnet.errors import UserError
from resnet.files import atomic

REQUIRED = {"version", "settings", "inputs"}
IDENTITY = ("stage", "version", "settings", "inputs")


class CorruptState(UserError):
    """A stage.json or begun.json is there and cannot be believed."""


def read_state(path: Path) -> dict[str, Any] | None:
    """The content of a state file; None if there is none. Raises CorruptState."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CorruptState(_message(path, str(error))) from None
    if not isinstance(content, dict) or not set(content) >= REQUIRED:
        raise CorruptState(_message(path, "it lacks what every such file has"))
    checksum = content.pop("checksum", None)
    if checksum is None:  # of an earlier version
        _check_former_digest(path, content)
    elif checksum != _checksum(content):
        raise CorruptState(_message(path, "its checksum does not match"))
    return content


def write_state(path: Path, content: Mapping[str, Any]) -> None:
    """Write a state file, completely or not at all."""
    with atomic(path, "w") as file:
        json.dump({**content, "checksum": _checksum(content)}, file, indent=1)
        file.write("\n")


def content_digest(outputs: Mapping[str, Mapping[str, Any]]) -> str:
    """What stages downstream depend on: the names and checksums of a stage's outputs, byproducts excepted.

    No times and no settings: the same bytes have the same digest, wherever and whenever they were made.
    """
    return _checksum(_checksums(outputs))


def _checksums(outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {name: output["sha256"] for name, output in outputs.items() if "byproduct" not in output}


def _check_former_digest(path: Path, content: dict[str, Any]) -> None:
    """Earlier versions wrote no checksum, and a digest over identity and outputs."""
    if "digest" not in content:
        return
    try:
        covered = {key: content[key] for key in IDENTITY} | {"outputs": _checksums(content["outputs"])}
    except (KeyError, TypeError, AttributeError):
        raise CorruptState(_message(path, "it lacks what every such file has")) from None
    if content["digest"] != hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest():
        raise CorruptState(_message(path, "its digest does not match"))


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _message(path: Path, why: str) -> str:
    if path.name == "stage.json":
        way_on = "or delete it: the stage is then finished again from what is beside it"
    else:
        way_on = "or give up what is beside it with --discard: it moves to the trash"
    return f"{path} is corrupt ({why}). Restore it from a copy, {way_on}."

"""JSON objects in files that carry their own checksum, so that a byte that changed is never used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnet.errors import UserError
from resnet.files import atomic, kind_of


class Corrupt(UserError):
    """A file is there and cannot be believed."""


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object and its checksum, completely or not at all."""
    with atomic(path, "w") as file:
        json.dump({**content, "checksum": checksum(content)}, file, indent=1)
        file.write("\n")


def read_json(path: Path, required: set[str], way_on: str) -> dict[str, Any] | None:
    """The object in a file, without its checksum; None if there is no such file.

    `required` are keys that it must have, `way_on` is what a user can do about a corrupt file. Raises Corrupt. A file
    without a checksum is of an earlier version.
    """
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise kind_of(error)(
            f"{path} cannot be read: {error.strerror}. Make it readable, or give another folder with --artifacts."
        ) from None
    except ValueError as error:
        raise corrupt(path, str(error), way_on) from None
    if not isinstance(content, dict) or not set(content) >= required:
        raise corrupt(path, "it lacks what every such file has", way_on)
    if content.pop("checksum", None) not in (None, checksum(content)):
        raise corrupt(path, "its checksum does not match", way_on)
    return content


def corrupt(path: Path, why: str, way_on: str) -> Corrupt:
    return Corrupt(f"{path} is corrupt ({why}). {way_on}")


def checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON object, in hexadecimal; the order of the keys does not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

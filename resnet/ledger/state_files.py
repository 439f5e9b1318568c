"""stage.json and begun.json.

One that is missing means "not done". One that is there and cannot be read is an error: it may describe days of work.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnet.checked_json import checksum, corrupt, read_json, write_json
from resnet.stage_table import STAGES

REQUIRED = {"version", "settings", "inputs"}
IDENTITY = ("stage", "version", "settings", "inputs")


def read_state(path: Path) -> dict[str, Any] | None:
    """The content of a state file; None if there is none. Raises Corrupt."""
    way_on = _way_on(path)
    content = read_json(path, REQUIRED, way_on)
    if content and "outputs" in content and content.get("digest") not in _digests(content):
        raise corrupt(path, "its digest does not match", way_on)
    return content


def write_state(path: Path, content: Mapping[str, Any]) -> None:
    """Write a state file, completely or not at all."""
    write_json(path, content)


def content_digest(outputs: Mapping[str, Mapping[str, Any]]) -> str:
    """What stages downstream depend on: the names and checksums of a stage's outputs, byproducts excepted.

    No times and no settings: the same bytes have the same digest, wherever and whenever they were made.
    """
    return checksum({name: output["sha256"] for name, output in outputs.items() if "byproduct" not in output})


def _way_on(path: Path) -> str:
    if path.parent.name == "parts":
        return "Delete it: the part is then looked at again."
    if path.name == "stage.json" and path.with_name("begun.json").exists():
        return "Restore it from a copy, or delete it: the stage is then finished again from what is beside it."
    stage = path.parent.name if path.parent.name in STAGES else "convert"
    return f"Restore it from a copy, or let what is beside it move to the trash: --discard {stage}"


def _digests(content: dict[str, Any]) -> tuple[str, ...]:
    """Today's digest of a finished stage, and that of earlier versions, which covered its identity too."""
    try:
        if "former_digest" in content:
            return (*content["former_digest"].values(), content_digest(content["outputs"]))
        covered = {key: content[key] for key in IDENTITY} | {
            "outputs": {name: file["sha256"] for name, file in content["outputs"].items() if "byproduct" not in file}
        }
        return content_digest(content["outputs"]), checksum(covered)
    except (KeyError, TypeError, AttributeError):
        return ()

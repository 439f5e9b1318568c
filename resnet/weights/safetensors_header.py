"""The header of a safetensors file, read without TensorFlow: the facts about the numbers in it.

They are one JSON text with sorted keys, and among them is the SHA-256 of everything else. Files of earlier versions
have a header entry for each fact, and no SHA-256.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

FACTS, DIGEST = "facts", "sha256"
EARLIER_FACTS = {"step", "keep", "network"}  # which earlier versions wrote


def is_safetensors(content: bytes) -> bool:
    """Whether it begins as such a file does: with the length of a header, less than a terabyte, and JSON."""
    return content[8:9] == b"{" and _header_length(content) < 1 << 40


def header_of(content: bytes) -> bytes:
    """The header of a safetensors file, which is JSON."""
    return content[8 : 8 + _header_length(content)]


def _header_length(content: bytes) -> int:
    return int.from_bytes(content[:8], "little")


def read_facts(path: Path) -> dict[str, Any]:
    """The facts of a safetensors file, from its header alone; none for a file that is missing or corrupt."""
    try:
        with safe_open(path, framework="numpy") as file:
            return facts_and_digest(file.metadata() or {})[0]
    except (FileNotFoundError, SafetensorError, ValueError, KeyError, TypeError):
        return {}


def facts_and_digest(metadata: dict[str, str]) -> tuple[dict[str, Any], str | None]:
    """What a header says. The digest is None in a file of an earlier version."""
    if FACTS not in metadata:
        if unknown := sorted(set(metadata) - EARLIER_FACTS):
            raise ValueError(f"its header has an unknown entry, {unknown[0]}")
        return metadata, None
    facts = json.loads(metadata[FACTS])
    return facts, facts.pop(DIGEST)

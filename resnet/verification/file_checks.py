"""Why a file is not as it was written; empty where it is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

from resnet.checked_json import Corrupt, read_json
from resnet.files import sha256
from resnet.records.tfrecord import CorruptRecord, records
from resnet.weights.tensor_files import UnreadableTensors, read_tensors


def why_other_bytes(path: Path, expected: str) -> str:
    """Of a file, by its SHA-256."""
    return "" if sha256(path) == expected else "its SHA-256 is not that of what was written"


def why_other_records(path: Path, expected: str) -> str:
    """Of a shard: by its SHA-256, and each record by its checksum, so that the record is named."""
    whole = 0
    with open(path, "rb") as file:
        reader = _Hashing(file)
        try:
            for _ in records(reader):  # type: ignore[arg-type]
                whole += 1
        except CorruptRecord as error:
            return f"{error} (record {whole + 1:,})"
    return "" if reader.digest.hexdigest() == expected else "its records are whole, and not those that were written"


def why_other_summary(path: Path) -> str:
    """Of a shard's summary, by the checksum in it."""
    try:
        return "" if read_json(path, {"sha256"}, "") else "it is missing"
    except Corrupt as error:
        return str(error).partition(" is corrupt ")[2].strip()


def why_other_tensors(path: Path) -> str:
    """Of a checkpoint, by the SHA-256 in its header."""
    try:
        read_tensors(path)
    except UnreadableTensors as error:
        return str(error).partition(": ")[2]
    return ""


class _Hashing:
    """A file whose bytes are hashed as they are read."""

    def __init__(self, file: BinaryIO):
        self._file, self.digest = file, hashlib.sha256()

    def read(self, count: int) -> bytes:
        content = self._file.read(count)
        self.digest.update(content)
        return content

"""Records that are changed on the disk."""

from __future__ import annotations

from pathlib import Path

from resnet.records.shards import ShardedRecords


def corrupt(folder: Path, record: int, split: str = "train") -> tuple[int, int]:
    """Change a byte of a record's image; returns shard and offset of the record."""
    records = ShardedRecords(folder, split)
    shard, offset, length, _ = records.index[record].item()
    path = records.shards[shard]
    content = bytearray(path.read_bytes())
    content[offset + length // 2] ^= 1
    path.write_bytes(content)
    return shard, offset

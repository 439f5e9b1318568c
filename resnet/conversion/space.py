"""Whether the disk has room for the shards, before hours of work end on a full one."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from resnet.conversion.plan import PlannedShard
from resnet.datasets.source import Image
from resnet.errors import UserError

# These become PNGs, which may be far smaller. All others take about as much room in a record.
UNCOMPRESSED = (".bmp", ".dib", ".tif", ".tiff", ".pbm", ".pgm", ".pnm", ".ppm", ".hdr", ".exr")
SPARED = 0.9  # new Huffman tables make some JPEGs smaller


def require_space(folder: Path, shards: Iterable[PlannedShard]) -> None:
    """Raise UserError if the images of the shards cannot fit on the disk of `folder`."""
    needed = SPARED * sum(_length(shard.split.image(int(i))) for shard in shards for i in shard.members)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"the records need about {needed / 1e9:,.1f} GB, but the disk of {folder} has {free / 1e9:,.1f} GB free. "
            "Make room, or give another folder with --artifacts."
        )


def _length(image: Image) -> int:
    if image.filename.lower().endswith(UNCOMPRESSED):
        return 0
    try:
        return image.length()
    except OSError:  # it will be rejected
        return 0

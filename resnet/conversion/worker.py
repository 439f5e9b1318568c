"""A worker process of the conversion: writes shard after shard.

How it is started and ends: see `resnet.workers.process`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from resnet.conversion.messages import COMPILE, Setup, ShardJob
from resnet.conversion.shard_writer import write_shard
from resnet.errors import UserError
from resnet.images.stored import to_stored
from resnet.processes import keep_freed_memory
from resnet.workers.process import Owner, serve


def begin(setup: Sequence[bytes], owner: Owner) -> Callable[[Sequence[bytes]], Sequence[bytes]]:
    """What does a job of the conversion."""
    folder, classes = Setup.unpack(setup[0])

    def do(parts: Sequence[bytes]) -> Sequence[bytes]:
        if parts[0] == COMPILE:
            compile_kernels()
            return []
        job = ShardJob.unpack(parts)
        try:
            return [json.dumps(write_shard(folder, job.name, job.images, classes, job.digest, owner.at)).encode()]
        except OSError as error:
            place = error.filename or folder / job.name
            raise UserError(f"cannot write {place}: {error.strerror}. Finished shards are kept.") from None

    return do


def compile_kernels() -> None:
    """Have the kernels compiled, or loaded, before they are needed."""
    pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    to_stored(cv2.imencode(".jpg", pixels)[1].tobytes())


if __name__ == "__main__":
    keep_freed_memory()
    cv2.setNumThreads(1)
    # OpenCV's own log stays quiet; _DecoderWarnings captures what the decoders print, image by image.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    serve(begin)

"""A worker process of the conversion: writes shard after shard, or looks at their images again.

How it is started and ends: see `resnet.workers.process`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from resnet.conversion.made_from import read_again
from resnet.conversion.messages import COMPILE, LOOK, Setup, ShardJob
from resnet.conversion.shard_writer import write_shard
from resnet.datasets.source import Image
from resnet.errors import UserError
from resnet.files import kind_of
from resnet.images.stored import to_stored
from resnet.processes import keep_freed_memory
from resnet.workers.process import Owner, serve


def begin(setup: Sequence[bytes], owner: Owner) -> Callable[[Sequence[bytes]], Sequence[bytes]]:
    """What does a job of the conversion."""
    folder, classes, max_megapixels = Setup.unpack(setup[0])

    def do(parts: Sequence[bytes]) -> Sequence[bytes]:
        if parts[0] == COMPILE:
            compile_kernels()
            return []
        job = ShardJob.unpack(parts[1:])
        try:
            if parts[0] == LOOK:
                return [json.dumps(read_again(_named(job, owner), owner.warn)).encode()]
            return [json.dumps(write_shard(folder, job, classes, max_megapixels, owner)).encode()]
        except OSError as error:
            place = error.filename or folder / job.name
            raise kind_of(error)(f"cannot write {place}: {error.strerror}. Finished shards are kept.") from None
        except MemoryError:
            raise UserError(
                f"memory ran out at the images of {job.name}. Fewer workers in luigi.cfg need less. "
                "Finished shards are kept."
            ) from None

    return do


def _named(job: ShardJob, owner: Owner) -> Iterator[Image]:
    for image, _ in job.images:
        owner.at(image.filename)
        yield image


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

"""The fastest input pipelines that an expert can assemble from the same parts, for the same pixels.

The parts are libjpeg-turbo (by simplejpeg, a seventh faster than by OpenCV), OpenCV, and this project's one matrix for
all changes of colour. Threads and PyTorch decode every JPEG whole and fill batches in place, in memory that they use
again: a batch stays valid until the consumer has taken two more. tf.data decodes the crop alone.
"""

from __future__ import annotations

import itertools
import math
import mmap
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import cv2
import numpy as np
import simplejpeg
from work import COLORS, HIGH, LOW, Work

from resnet.loader.color import color_map

AHEAD = 3  # batches that are being filled at a time
JOB = 32  # images that a thread takes at a time
LENT = 2  # batches that the consumer may be looking at: the one it got last, and the one before


class ImageWriter:
    """Writes images as the network sees them. Each thread or process needs its own."""

    def __init__(self, work: Work, half_decoding: bool = False):
        self._size, self._color, self._half_decoding = work.size, work.color, half_decoding
        self._files = [str(path) for path in work.files]
        self._boxes, self._flips = work.boxes.tolist(), work.flips.tolist()
        self._draws = color_draws(work)
        self._plain = np.empty((work.size, work.size, 3), np.uint8)  # before its colours change

    def write(self, image: int, out: np.ndarray) -> None:
        """Write an image to `out`, uint8 RGB [size, size, 3]."""
        x, y, width, height = self._boxes[image]
        with open(self._files[image], "rb", buffering=0) as file:
            encoded = file.read()
        if self._half_decoding and min(width, height) > 2 * self._size:
            whole_height, whole_width, *_ = simplejpeg.decode_jpeg_header(encoded)
            least = {"min_height": -(-whole_height // 2), "min_width": -(-whole_width // 2)}
            pixels = simplejpeg.decode_jpeg(encoded, "RGB", **least)
            x, y, width, height = x // 2, y // 2, width // 2, height // 2
        else:
            pixels = simplejpeg.decode_jpeg(encoded, "RGB")
        plain = self._plain if self._color else out
        interpolation = cv2.INTER_AREA if min(width, height) > 2 * self._size else cv2.INTER_LINEAR
        cv2.resize(
            pixels[y : y + height, x : x + width], (self._size, self._size), dst=plain, interpolation=interpolation
        )
        if self._flips[image]:
            cv2.flip(plain, 1, dst=plain)
        if self._color:
            cv2.transform(plain, color_map(cv2.mean(plain)[:3], self._draws[image]), dst=out)


def color_draws(work: Work) -> list[list[float]]:
    """The draws from which `color_map` makes the colours of each image."""
    draws = np.zeros((len(work.colors), max(COLORS) + 1))
    draws[:, COLORS] = (work.colors - LOW) / (HIGH - LOW)
    return draws.tolist()


def shuffled(work: Work) -> Iterator[list[int]]:
    """Batches of image numbers: each epoch in another random sampling order."""
    random, images = np.random.default_rng(0), len(work.boxes)
    epochs = itertools.chain.from_iterable(random.permutation(images).tolist() for _ in itertools.count())
    while True:
        yield list(itertools.islice(epochs, work.batch))


def threads(work: Work, half_decoding: bool = False) -> Iterator[Any]:
    """Threads of one process: decoding and OpenCV release the interpreter's lock."""
    cv2.setNumThreads(1)
    writers: SimpleQueue[ImageWriter] = SimpleQueue()
    for _ in range(work.workers):
        writers.put(ImageWriter(work, half_decoding))
    ring = [np.empty((work.batch, work.size, work.size, 3), np.uint8) for _ in range(AHEAD + LENT)]
    batches = zip(itertools.cycle(ring), shuffled(work), strict=False)

    def fill(rows: np.ndarray, images: list[int]) -> None:
        writer = writers.get()
        for row, image in zip(rows, images, strict=True):
            writer.write(image, row)
        writers.put(writer)

    with ThreadPoolExecutor(work.workers) as pool:

        def begin() -> tuple[np.ndarray, list[Future]]:
            batch, images = next(batches)
            starts = range(0, work.batch, JOB)
            return batch, [
                pool.submit(fill, batch[start : start + JOB], images[start : start + JOB]) for start in starts
            ]

        in_work = deque(begin() for _ in range(AHEAD))
        while True:
            batch, jobs = in_work.popleft()
            for job in jobs:
                job.result()
            in_work.append(begin())
            yield batch


def threads_at_half(work: Work) -> Iterator[Any]:
    """Likewise; crops of more than twice the network's size are decoded at half size."""
    return threads(work, half_decoding=True)


def tf_data(work: Work) -> Iterator[Any]:
    """tf.data as it ships, but for the colours: one matrix, and a flip of bytes instead of floats."""
    import tensorflow as tf

    def load(record: Any, box: Any, flip: Any, linear: Any, constant: Any, from_mean: Any) -> Any:
        encoded = tf.io.parse_single_example(record, {"image/encoded": tf.io.FixedLenFeature([], tf.string)})
        window = tf.stack([box[1], box[0], box[3], box[2]])
        image = tf.image.decode_and_crop_jpeg(encoded["image/encoded"], window, channels=3)
        image = tf.image.resize(image, [work.size, work.size])
        half = 0.5  # the conversion to bytes cuts off what follows the point
        if work.color:
            # TensorFlow is faster at means and sums of whole rows than of three channels at a time.
            columns = tf.reduce_mean(tf.reshape(image, [work.size, -1]), 0)
            mean = tf.reduce_mean(tf.reshape(columns, [-1, 3]), 0, keepdims=True)
            offset = tf.matmul(mean, from_mean) + constant + half
            image = tf.reshape(tf.matmul(tf.reshape(image, [-1, 3]), linear), [work.size, -1])
            image = tf.clip_by_value(image + tf.tile(offset, [1, work.size]), 0.0, 255.0)
            image = tf.reshape(image, [work.size, work.size, 3])
        else:
            image = image + half
        image = tf.cast(image, tf.uint8)
        return tf.cond(flip, lambda: tf.reverse(image, [1]), lambda: image)

    options = tf.data.Options()
    options.threading.private_threadpool_size = work.workers
    options.threading.max_intra_op_parallelism = 1
    options.deterministic = False
    records = tf.data.TFRecordDataset(str(work.folder / "original" / "train-00000-of-00001"))
    drawn = tf.data.Dataset.from_tensor_slices((work.boxes, work.flips, *color_matrices(work)))
    yield from (
        tf.data.Dataset.zip((records, drawn))
        .repeat()
        .map(lambda record, drawn: load(record, *drawn), num_parallel_calls=work.workers)
        .batch(work.batch, drop_remainder=True)
        .prefetch(2)
        .with_options(options)
    )


def color_matrices(work: Work) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `color_map` does to each image, as matrices to multiply a row (R, G, B) with, float32.

    A pixel becomes pixel @ linear + mean @ from_mean + constant, where mean is the image's mean colour.
    """
    maps = np.array([color_map((0, 0, 0), draw) for draw in color_draws(work)])
    linear, constant = maps[:, :, :3].transpose(0, 2, 1), maps[:, None, :, 3]
    contrast = work.colors[:, 3, None, None].astype(float)
    matrices = linear, constant, linear * (1 - contrast) / contrast
    return tuple(matrix.astype(np.float32) for matrix in matrices)  # type: ignore[return-value]


def pytorch(work: Work) -> Iterator[Any]:
    """DataLoader's workers, which fill memory that they share with the trainer and send only a batch's number."""
    import torch

    cv2.setNumThreads(1)
    prefetch_factor = 2
    shape = (prefetch_factor * work.workers + LENT, work.batch, work.size, work.size, 3)
    ring = np.frombuffer(mmap.mmap(-1, math.prod(shape)), np.uint8).reshape(shape)
    writer = ImageWriter(work)

    class Photographs(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(work.boxes)

        def __getitems__(self, batch: list[int]) -> int:
            slot, *images = batch
            for row, image in zip(ring[slot], images, strict=True):
                writer.write(image, row)
            return slot

    loader = torch.utils.data.DataLoader(
        Photographs(),
        batch_sampler=([step % len(ring), *images] for step, images in enumerate(shuffled(work))),
        collate_fn=int,
        num_workers=work.workers,
        prefetch_factor=prefetch_factor,
        multiprocessing_context="fork",  # so that the workers share the ring
    )
    for slot in loader:
        yield torch.from_numpy(ring[slot])

"""Input pipelines as they ship: what their own documentation and recipes would have you write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from work import Work

LONG_EPOCH = 100  # times the files: the end of an epoch, where some run dry, does not count against them


def tf_data(work: Work) -> Iterator[Any]:
    import tensorflow as tf

    def load(record: Any, box: Any, flip: Any, color: Any) -> Any:
        encoded = tf.io.parse_single_example(record, {"image/encoded": tf.io.FixedLenFeature([], tf.string)})
        window = tf.stack([box[1], box[0], box[3], box[2]])
        image = tf.image.decode_and_crop_jpeg(encoded["image/encoded"], window, channels=3)
        image = tf.image.resize(image, [work.size, work.size])
        image = tf.cond(flip, lambda: tf.reverse(image, [1]), lambda: image)
        if work.color:  # tf_cnn_benchmarks, preprocessing.py, distort_color
            image = tf.image.adjust_brightness(image / 255, color[0])
            image = tf.image.adjust_saturation(image, color[1])
            image = tf.image.adjust_hue(image, color[2])
            image = tf.image.adjust_contrast(image, color[3])
            image = 255 * tf.clip_by_value(image, 0.0, 1.0)
        return tf.cast(image, tf.uint8)

    options = tf.data.Options()
    options.threading.private_threadpool_size = work.workers
    options.threading.max_intra_op_parallelism = 1
    records = tf.data.TFRecordDataset(str(work.folder / "original" / "train-00000-of-00001"))
    drawn = tf.data.Dataset.from_tensor_slices((work.boxes, work.flips, work.colors))
    batches = (
        tf.data.Dataset.zip((records, drawn))
        .repeat()
        .map(lambda record, drawn: load(record, *drawn), num_parallel_calls=work.workers)
        .batch(work.batch, drop_remainder=True)
        .prefetch(2)
        .with_options(options)
    )
    yield from batches


def pytorch_pillow(work: Work) -> Iterator[Any]:
    import torch
    from PIL import Image, ImageEnhance

    files = work.files

    class Photographs(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return LONG_EPOCH * len(files)

        def __getitem__(self, i: int) -> Any:
            i %= len(files)
            x, y, width, height = work.boxes[i].tolist()
            image = Image.open(files[i]).convert("RGB").crop((x, y, x + width, y + height))
            image = image.resize((work.size, work.size), Image.Resampling.BILINEAR)
            if work.flips[i]:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            if work.color:  # fb.resnet.torch and torchvision: no hue in the published recipe
                brightness, saturation, _, contrast = work.colors[i].tolist()
                image = ImageEnhance.Brightness(image).enhance(1 + brightness)
                image = ImageEnhance.Color(image).enhance(saturation)
                image = ImageEnhance.Contrast(image).enhance(contrast)
            return torch.from_numpy(np.array(image))

    yield from _batches(Photographs(), work)


def pytorch_torchvision(work: Work) -> Iterator[Any]:
    import torch
    from torchvision.io import decode_jpeg, read_file
    from torchvision.transforms.v2 import functional as change

    files = [str(path) for path in work.files]

    class Photographs(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return LONG_EPOCH * len(files)

        def __getitem__(self, i: int) -> Any:
            i %= len(files)
            x, y, width, height = work.boxes[i].tolist()
            image = change.crop(decode_jpeg(read_file(files[i])), y, x, height, width)
            image = change.resize(image, [work.size, work.size])
            if work.flips[i]:
                image = change.horizontal_flip(image)
            if work.color:
                brightness, saturation, hue, contrast = work.colors[i].tolist()
                image = change.adjust_brightness(image, 1 + brightness)
                image = change.adjust_saturation(image, saturation)
                image = change.adjust_hue(image, hue)
                image = change.adjust_contrast(image, contrast)
            return image

    yield from _batches(Photographs(), work)


def _batches(photographs: Any, work: Work) -> Iterator[Any]:
    import torch

    loader = torch.utils.data.DataLoader(
        photographs, work.batch, shuffle=True, num_workers=work.workers, drop_last=True, persistent_workers=True
    )
    while True:
        yield from loader


def dali(work: Work) -> Iterator[Any]:
    from nvidia.dali import fn, pipeline_def, types

    files = [np.fromfile(path, np.uint8) for path in work.files]
    starts, shapes = np.ascontiguousarray(work.boxes[:, 1::-1]), np.ascontiguousarray(work.boxes[:, :1:-1])
    drawn = [starts, shapes, work.flips.astype(np.int32), *([work.colors] if work.color else [])]

    def samples(info: Any) -> tuple:
        images = (info.iteration * work.batch + np.arange(work.batch)) % len(files)
        return [files[image] for image in images], *(numbers[images] for numbers in drawn)

    @pipeline_def(batch_size=work.batch, num_threads=work.workers, device_id=None, prefetch_queue_depth=2)
    def pipeline() -> Any:
        encoded, start, shape, flip, *color = fn.external_source(samples, num_outputs=1 + len(drawn), batch_info=True)
        image = fn.decoders.image_slice(encoded, start, shape, axes=[0, 1], output_type=types.RGB)
        image = fn.resize(image, size=[work.size, work.size], interp_type=types.INTERP_LINEAR, antialias=False)
        image = fn.flip(image, horizontal=flip)
        if color:
            brightness, saturation, hue, contrast = (color[0][i] for i in range(4))
            image = fn.color_twist(
                image, brightness=1 + brightness, saturation=saturation, hue=360 * hue, contrast=contrast
            )
        return image

    built = pipeline()
    built.build()
    while True:
        (images,) = built.run()
        yield images


def tensorpack(work: Work) -> Iterator[Any]:
    import cv2
    from tensorpack.dataflow import BatchData, DataFromList, MapData, MultiProcessRunnerZMQ, imgaug

    cv2.setNumThreads(1)
    files = work.files
    coloring = imgaug.AugmentorList(
        [
            imgaug.BrightnessScale((0.6, 1.4), clip=False),
            imgaug.Contrast((0.6, 1.4), rgb=False, clip=False),
            imgaug.Saturation(0.4, rgb=False),
        ]
    )

    def load(i: int) -> list:
        image = cv2.imread(str(files[i]), cv2.IMREAD_COLOR)
        x, y, width, height = work.boxes[i]
        image = cv2.resize(image[y : y + height, x : x + width], (work.size, work.size))
        if work.flips[i]:
            image = cv2.flip(image, 1)
        if work.color:
            image = coloring.augment(image)
        return [image]

    flow = MapData(DataFromList(list(range(len(files))), shuffle=True), load)
    flow = BatchData(MultiProcessRunnerZMQ(flow, work.workers), work.batch, use_list=False)
    flow.reset_state()
    while True:
        yield from flow


class LabelledPixels:
    """What FFCV writes its file from."""

    def __init__(self, files: list[Path]):
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        from PIL import Image

        return np.asarray(Image.open(self._files[i]).convert("RGB")), 0


def ffcv(work: Work) -> Iterator[Any]:
    """Its own format, made from the same images: it encodes them again, at its quality of 90."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomBrightness, RandomContrast, RandomHorizontalFlip, RandomSaturation
    from ffcv.writer import DatasetWriter

    files, path = work.files, str(work.folder / "photographs.beton")
    if not Path(path).exists():
        fields = {"image": RGBImageField(write_mode="jpg"), "label": IntField()}
        DatasetWriter(path, fields, num_workers=work.workers).from_indexed_dataset(LabelledPixels(files))
    # It draws its own crops: these have the same areas and shapes.
    areas, ratios = work.areas, work.boxes[:, 2] / work.boxes[:, 3]
    bounds = [(float(numbers.min()), float(numbers.max())) for numbers in (areas, ratios)]
    operations: list[Any] = [
        RandomResizedCropRGBImageDecoder((work.size, work.size), *bounds),
        RandomHorizontalFlip(),
    ]
    if work.color:  # it has no hue
        operations += [RandomBrightness(32 / 255, 1), RandomSaturation(0.5, 1), RandomContrast(0.5, 1)]
    loader = Loader(
        path,
        batch_size=work.batch,
        num_workers=work.workers,
        order=OrderOption.RANDOM,
        os_cache=True,
        drop_last=True,
        indices=np.tile(np.arange(len(files)), LONG_EPOCH),
        pipelines={"image": operations, "label": None},
    )
    while True:
        yield from loader

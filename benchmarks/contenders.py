"""The input pipelines that are compared: each takes the same files, crops and colours, and yields batches for ever.

Every one decodes the original JPEG, crops, scales to the network's size, flips and, where asked, changes brightness,
saturation, hue and contrast, in the way that is usual in its own ecosystem, on `workers` workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LONG_EPOCH = 100  # times the files: some run dry at the end of an epoch, which is no matter of speed


class Work(NamedTuple):
    folder: Path  # with records/ (indexed), original/ (a TFRecord file of the same, as they were), and files/
    size: int
    batch: int
    workers: int
    color: bool
    boxes: np.ndarray  # int32 [images, 4]: x, y, width, height of each image's crop
    flips: np.ndarray  # bool [images]
    colors: np.ndarray  # float32 [images, 4]: brightness (of 0..1), saturation, hue (turns), contrast

    @property
    def files(self) -> list[Path]:
        return sorted((self.folder / "files").iterdir())


def ours(work: Work) -> Iterator[Any]:
    from resnet.loader.loader import Loader
    from resnet.loader.sampler import TrainingSampler
    from resnet.loader.transforms import Augment
    from resnet.records.shards import ShardedRecords
    from resnet.settings import Augmentation

    records = ShardedRecords(work.folder / "records", "train")
    with Loader(
        records,
        TrainingSampler(len(records), work.batch, 0),
        Augment.of(Augmentation(color=work.color)),
        work.size,
        first_step=0,
        last_step=1 << 40,
        workers=work.workers,
    ) as loader:
        for batch in loader:
            yield batch.images


def ours_alone(work: Work) -> Iterator[Any]:
    """One worker's work in this very process, without transport: what the pipeline could do at best, per worker."""
    import cv2

    from resnet.loader.loader import PIECE
    from resnet.loader.messages import RECORD_TYPE, JobHeader, Setup
    from resnet.loader.ring import Ring
    from resnet.loader.sampler import TrainingSampler, in_pieces
    from resnet.loader.transforms import Augment
    from resnet.loader.worker import Worker
    from resnet.records.shards import ShardedRecords
    from resnet.settings import Augmentation

    cv2.setNumThreads(1)
    records = ShardedRecords(work.folder / "records", "train")
    ring = Ring(4, work.batch, work.size)
    shards = [str(path) for path in records.shards]
    transform = Augment.of(Augmentation(color=work.color))
    worker = Worker(Setup(shards, 4, work.batch, work.size, 0, transform, False), ring.descriptor)
    sampler = TrainingSampler(len(records), work.batch, 0)
    step = 0
    while True:
        for row, (epoch, position, members) in in_pieces(sampler.batch(step), PIECE):
            header = JobHeader(0, step % 4, row, epoch, position)
            worker.fill(header, records.index[members].astype(RECORD_TYPE))
        yield ring.pixels(step % 4)
        step += 1


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


def pytorch(work: Work) -> Iterator[Any]:
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

    loader = torch.utils.data.DataLoader(
        Photographs(), work.batch, shuffle=True, num_workers=work.workers, drop_last=True, persistent_workers=True
    )
    while True:
        yield from loader


def dali(work: Work) -> Iterator[Any]:
    from nvidia.dali import fn, pipeline_def, types

    files = [np.fromfile(path, np.uint8) for path in work.files]

    def sample(info: Any) -> tuple:
        i = info.idx_in_epoch % len(files)
        x, y, width, height = work.boxes[i]
        return (
            files[i],
            np.array([y, x], np.int32),
            np.array([height, width], np.int32),
            np.int32(work.flips[i]),
            np.ascontiguousarray(work.colors[i]),
        )

    @pipeline_def(batch_size=work.batch, num_threads=work.workers, device_id=None, prefetch_queue_depth=2)
    def pipeline() -> Any:
        encoded, start, shape, flip, color = fn.external_source(sample, num_outputs=5, batch=False)
        image = fn.decoders.image_slice(encoded, start, shape, axes=[0, 1], output_type=types.RGB)
        image = fn.resize(image, size=[work.size, work.size], interp_type=types.INTERP_LINEAR, antialias=False)
        image = fn.flip(image, horizontal=flip)
        if work.color:
            image = fn.color_twist(
                image, brightness=1 + color[0], saturation=color[1], hue=360 * color[2], contrast=color[3]
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


def ffcv(work: Work) -> Iterator[Any]:
    """Its own format, from the same files: JPEGs coded anew at its quality of 90, since it keeps no file as it is."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomBrightness, RandomContrast, RandomHorizontalFlip, RandomSaturation
    from ffcv.writer import DatasetWriter
    from PIL import Image

    files, path = work.files, str(work.folder / "photographs.beton")

    class Photographs:
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, i: int) -> tuple:
            return np.asarray(Image.open(files[i]).convert("RGB")), 0

    if not Path(path).exists():
        fields = {"image": RGBImageField(write_mode="jpg"), "label": IntField()}
        DatasetWriter(path, fields, num_workers=work.workers).from_indexed_dataset(Photographs())
    areas = work.boxes[:, 2] * work.boxes[:, 3] / (500 * 375)  # the same share of the image, square as far as it goes
    operations: list[Any] = [
        RandomResizedCropRGBImageDecoder((work.size, work.size), (areas.min(), areas.max()), (1.0, 1.0)),
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


CONTENDERS: dict[str, tuple[str, Callable[[Work], Iterator[Any]]]] = {  # by the module that must be installed
    "resnet": ("resnet", ours),
    "resnet, one process": ("resnet", ours_alone),
    "tf.data": ("tensorflow", tf_data),
    "tensorpack": ("tensorpack", tensorpack),
    "DALI on the CPU": ("nvidia.dali", dali),
    "PyTorch + Pillow": ("torch", pytorch),
    "FFCV": ("ffcv", ffcv),
}

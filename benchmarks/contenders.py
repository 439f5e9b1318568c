"""The input pipelines that are compared. Each takes the same `Work` and yields batches without end.

Every one decodes the original JPEG, crops, scales to the network's size, flips and, where asked, changes brightness,
saturation, hue and contrast, on `workers` workers. Some are used as they ship, in the way that is usual in their own
ecosystem; others are the fastest that an expert can assemble by hand from the same parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import contenders_as_shipped as as_shipped
import contenders_by_hand as by_hand
from work import SEED, Work

OURS, CEILING, AS_SHIPPED, BY_HAND = "this project", "ceiling", "as shipped", "assembled by hand"
VARIANT = "variant"  # of this project or of another: other pixels, so it is in no ratio


class Contender(NamedTuple):
    name: str
    module: str  # that must be installed
    batches: Callable[[Work], Iterator[Any]]
    kind: str


def ours(work: Work, **settings: Any) -> Iterator[Any]:
    """`settings`: further ones of [augmentation]."""
    from resnet.loader.loader import Loader
    from resnet.loader.sampler import TrainingSampler
    from resnet.loader.transforms import Augment
    from resnet.records.shards import ShardedRecords
    from resnet.settings import Augmentation

    records = ShardedRecords(work.folder / "records", "train")
    with Loader(
        records,
        TrainingSampler(len(records), work.batch, SEED),
        [Augment.of(Augmentation(crop=work.crop, color=work.color, **settings), work.size)],
        work.size,
        first_step=0,
        last_step=1 << 40,
        workers=work.workers,
        seed=SEED,
    ) as loader:
        for batch in loader:
            yield batch.images


def ours_alone(work: Work) -> Iterator[Any]:
    """A worker's jobs in this very process, without transport: the most that one worker could do."""
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
    transform = Augment.of(Augmentation(crop=work.crop, color=work.color), work.size)
    worker = Worker(Setup(shards, 4, work.batch, work.size, SEED, [transform], False), ring.descriptor)
    sampler = TrainingSampler(len(records), work.batch, SEED)
    step = 0
    while True:
        for row, (epoch, position, members) in in_pieces(sampler.batch(step), PIECE):
            header = JobHeader(step % 4, row, epoch, position, work.size)
            worker.fill(header, records.index[members].astype(RECORD_TYPE))
        yield ring.pixels(step % 4)
        step += 1


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("this project", "resnet", ours, OURS),
        Contender("this project, one process", "resnet", ours_alone, CEILING),
        Contender("this project, half decoding", "resnet", partial(ours, half_decoding=True), VARIANT),
        Contender("this project, RandAugment", "resnet", partial(ours, policy="randaugment"), VARIANT),
        Contender("this project, TrivialAugment", "resnet", partial(ours, policy="trivialaugment"), VARIANT),
        Contender("tf.data", "tensorflow", as_shipped.tf_data, AS_SHIPPED),
        Contender("tensorpack", "tensorpack", as_shipped.tensorpack, AS_SHIPPED),
        Contender("DALI on the CPU", "nvidia.dali", as_shipped.dali, AS_SHIPPED),
        Contender("PyTorch + Pillow", "torch", as_shipped.pytorch_pillow, AS_SHIPPED),
        Contender("PyTorch + torchvision", "torchvision", as_shipped.pytorch_torchvision, AS_SHIPPED),
        Contender("FFCV", "ffcv", as_shipped.ffcv, AS_SHIPPED),
        Contender("by hand: threads", "simplejpeg", by_hand.threads, BY_HAND),
        Contender("by hand: threads, half decoding", "simplejpeg", by_hand.threads_at_half, VARIANT),
        Contender("tf.data, colour by hand", "tensorflow", by_hand.tf_data, BY_HAND),
        Contender("PyTorch + OpenCV, colour by hand", "torch", by_hand.pytorch, BY_HAND),
    )
}

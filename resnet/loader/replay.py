"""The images of a training step once more, one by one, without the loader's processes.

Sampling order and augmentation are pure functions of the seed, so the pixels are those that the network saw. Corrupt
records are substituted as the loader does it: by the next image in the order of the shards.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np

from resnet.errors import UserError
from resnet.images.decoding import Unreadable
from resnet.images.regions import StoredImage, open_image
from resnet.loader.mixing import Mixer, kept
from resnet.loader.random_streams import draws
from resnet.loader.sampler import TrainingSampler
from resnet.loader.transforms import Augment, Framing
from resnet.records import example
from resnet.records.shards import RecordReader, ShardedRecords
from resnet.records.tfrecord import CorruptRecord
from resnet.settings import Recipe

logger = logging.getLogger(__name__)


class ShownImage(NamedTuple):
    """An image of a training batch."""

    row: int  # of the batch
    epoch: int  # counted from 0
    position: int  # in the epoch's order
    record: int  # in the order of the index
    instead_of: int | None  # the corrupt record whose substitute this one is
    label: int
    filename: str
    image: StoredImage  # all of it
    framing: Framing
    pixels: np.ndarray  # as the network saw it, uint8 RGB [size, size, 3]
    changes: tuple[str, ...]  # by the policy and erasing, in words
    share: float = 1.0  # what its own label counts for
    partner: ShownImage | None = None  # the image that it is mixed with, unless that has no share
    mixing: str = ""  # then "mixup" or "CutMix"


def shown_in_batch(
    recipe: Recipe, records: ShardedRecords, batch: int, corrupt: Sequence[str] = ()
) -> Iterator[ShownImage]:
    """The images of a training batch, counted from 0, in the order of its rows.

    `corrupt`: the records that training found to be so, as `Loader.corrupt` names them. One that is corrupt and not
    among them is substituted too, and named in a warning. Raises UserError for a shard that cannot be read.
    """
    shown = _unmixed(recipe, records, batch, corrupt)
    if not (mixer := Mixer.of(recipe)):
        yield from shown
        return
    size = recipe.training.replica_batch_size
    for mix in mixer(batch, recipe.training_size(batch * recipe.training.batch_size // len(records))):
        replica = list(itertools.islice(shown, size))
        for one, partner in zip(replica, [replica[-1], *replica], strict=False):
            share = kept(mix, len(one.pixels))
            blended = share[..., None] * one.pixels + (1 - share[..., None]) * partner.pixels
            pixels = np.rint(blended).astype(np.uint8)
            mixed = one._replace(pixels=pixels, share=float(share.mean()))
            if mixed.share < 1:  # mixup's may have been rounded to 1
                mixed = mixed._replace(partner=partner, mixing="CutMix" if mix[0] == 1 else "mixup")
            yield mixed


def _unmixed(recipe: Recipe, records: ShardedRecords, batch: int, corrupt: Sequence[str]) -> Iterator[ShownImage]:
    training, augment = recipe.training, Augment.of(recipe.augmentation, recipe.model.image_size)
    size = recipe.training_size(batch * training.batch_size // len(records))
    row = 0
    with closing(RecordReader(records.shards)) as reader:
        for epoch, position, members in TrainingSampler(len(records), training.batch_size, training.seed).batch(batch):
            drawn = [draws(training.seed, epoch, position, len(members), s).tolist() for s in augment.streams]
            for i, (member, *by_stream) in enumerate(zip(members.tolist(), *drawn, strict=True)):
                pixels = np.empty((size, size, 3), np.uint8)
                look = functools.partial(augment, draws=by_stream, out=pixels)
                record, payload, image = _first_readable(records, reader, member, corrupt, look)
                yield ShownImage(
                    row,
                    epoch,
                    position + i,
                    record,
                    None if record == member else member,
                    int(records.index["label"][record]),
                    example.describe(payload).filename,
                    image,
                    augment.framing(image.width, image.height, size, by_stream[0]),
                    pixels,
                    tuple(augment.in_words(by_stream, size)),
                )
                row += 1


def _first_readable(
    records: ShardedRecords,
    reader: RecordReader,
    first: int,
    corrupt: Sequence[str],
    look: Callable[[StoredImage], None],
) -> tuple[int, bytes, StoredImage]:
    """The first record from `first` on that is not corrupt, and that `look` can decode: which, its content, and its
    image."""
    for record in (np.arange(first, first + len(records)) % len(records)).tolist():
        if records.is_among(corrupt, record):
            continue
        shard, offset, length = (int(records.index[record][field]) for field in ("shard", "offset", "length"))
        try:
            payload = reader.payload(shard, offset, length)
            look(image := open_image(example.encoded_image(payload)))
            return record, payload, image
        except CorruptRecord as error:
            reason = str(error)
        except (Unreadable, example.Malformed) as error:
            reason = f"{records.shards[shard]}: the record at byte {offset} is corrupt: {error}"
        except OSError as error:
            raise UserError(f"cannot read {error.filename}: {error.strerror}") from None
        logger.warning("%s; training has not reported it, and may have seen it: the next image is drawn", reason)
    raise UserError(f"all records in {records.folder} are corrupt. Delete that folder and run ConvertRecords.")

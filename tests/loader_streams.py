"""A training loader with few settings, and what identifies the stream that it yields."""

from __future__ import annotations

import hashlib

from resnet.loader.loader import Loader
from resnet.loader.sampler import TrainingSampler
from resnet.loader.transforms import Augment
from resnet.settings import Augmentation


def training(
    records,
    *,
    first=0,
    last=12,
    workers=2,
    batch_size=16,
    size=32,
    seed=1,
    max_corrupt=0,
    corrupt=(),
    should_stop=lambda: False,
    size_of=None,
    **changes,
) -> Loader:
    return Loader(
        records,
        TrainingSampler(len(records), batch_size, seed),
        [Augment.of(Augmentation(**{"scale_min": 40, "scale_max": 60} | changes), size)],
        size,
        first_step=first,
        last_step=last,
        workers=workers,
        seed=seed,
        max_corrupt=max_corrupt,
        corrupt=corrupt,
        should_stop=should_stop,
        size_of=size_of,
    )


def digests(loader: Loader) -> list[str]:
    with loader:
        return [hashlib.sha256(batch.images.tobytes() + batch.labels.tobytes()).hexdigest() for batch in loader]

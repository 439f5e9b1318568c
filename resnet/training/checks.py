"""What is looked at before the first step: most of what ruins a training can be seen by then."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from resnet.errors import UserError
from resnet.model.network import ResNet
from resnet.records.shards import ShardedRecords
from resnet.settings import Training
from resnet.training.micro_batch import bytes_of_image, bytes_of_state

logger = logging.getLogger(__name__)

SHOWN = 3  # classes that a message names
MOST_BYTES_OF_PIXEL = 10_000  # of activations for each pixel of the input; ResNet-152 in float32 has 4,300
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def require_trainable(
    records: ShardedRecords, validation: ShardedRecords, training: Training, speaks: bool = True
) -> None:
    """Raise UserError where a split has no images, or fewer than a batch; say which classes cannot be learned, unless
    another host `speaks`.

    That labels are within the classes is looked at whenever records are opened.
    """
    for split, found in (("training", records), ("validation", validation)):
        if not len(found):
            raise UserError(f"the {split} split in {found.folder} has no images. Delete the folder, and convert again.")
    if training.batch_size > len(records):
        raise UserError(
            f"training.batch_size is {training.batch_size}, and there are {len(records):,} training images: a batch "
            f"would show some twice. Set training.batch_size and training.replica_batch_size to {len(records)} or less."
        )
    counts = np.bincount(records.index["label"], minlength=len(records.classes))
    wanted = np.bincount(validation.index["label"], minlength=len(records.classes))
    if not speaks:
        return
    if missing := [records.classes[label][1] for label in np.flatnonzero((counts == 0) & (wanted > 0))]:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        logger.warning(
            "no training image shows %s%s, which validation asks for: they cannot be learned",
            ", ".join(missing[:SHOWN]),
            more,
        )


def look_at_memory(network: ResNet, image_size: int, training: Training, at_once: int, devices: int, gpu: int) -> None:
    """Warn where a step is likely to need more memory than its device has. `gpu`: the bytes of a GPU; 0: the CPU's
    memory counts, which all `devices` share."""
    images, available = training.replica_batch_size * at_once, gpu or bytes_of_machine()
    sharing = 1 if gpu else devices
    if sharing * images * image_size**2 * MOST_BYTES_OF_PIXEL < available:
        return  # as nearly always: no graph need be made
    state, activations = bytes_of_state(network, training), images * bytes_of_image(network, image_size)
    needed = sharing * (state + activations)
    if needed <= available:
        return
    logger.warning(
        "a step needs about %.1f GB (%.1f GB for weights, gradients and the optimizer, %.1f GB for what %d images "
        "leave for the backward pass%s), and the %s has %.1f GB: lower training.replica_batch_size, which changes the "
        "batch-norm statistics, or set training.precision=bfloat16",
        needed / 1e9,
        state / 1e9,
        activations / 1e9,
        images,
        f", on each of {devices} devices" if sharing > 1 else "",
        "GPU" if gpu else "machine",
        available / 1e9,
    )


def bytes_of_machine() -> int:
    """The memory of this machine, or what its container may use of it."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(physical, int(CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):  # no such limit, or "max"
        return physical

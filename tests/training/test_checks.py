"""What is refused, and what is said, before the first step."""

from __future__ import annotations

import os

import numpy as np
import pytest

from resnet.errors import UserError
from resnet.model.network import ResNet
from resnet.settings import Training
from resnet.training import checks
from resnet.training.checks import bytes_of_machine, look_at_memory, require_trainable
from resnet.training.micro_batch import bytes_of_image, bytes_of_state

EIGHT = Training(batch_size=8, replica_batch_size=8)


class Records:
    """Records of these labels, of four classes."""

    folder, classes = "records/few", [(name, name) for name in "abcd"]

    def __init__(self, *labels: int):
        self.index = {"label": np.array(labels, np.int32)}

    def __len__(self) -> int:
        return len(self.index["label"])


ALL = Records(*[0, 1, 2, 3] * 2)


@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        (Records(), ALL, "the training split in records/few has no images"),
        (ALL, Records(), "the validation split in records/few has no images"),
        (Records(0, 1, 2), ALL, r"batch_size is 8, and there are 3 training images.* to 3 or less"),
    ],
)
def test_records_that_cannot_be_trained_on_are_refused(train, validation, message):
    with pytest.raises(UserError, match=message):
        require_trainable(train, validation, EIGHT)


def test_nothing_is_said_where_every_class_can_be_learned(caplog):
    require_trainable(ALL, Records(0), EIGHT)
    require_trainable(Records(*[0] * 8), Records(0), EIGHT)  # classes that nobody asks for
    assert caplog.messages == []


def test_classes_without_a_training_image_are_named(caplog):
    require_trainable(Records(*[1] * 8), ALL, EIGHT)
    assert caplog.messages == ["no training image shows a, c, d, which validation asks for: they cannot be learned"]
    caplog.clear()
    require_trainable(Records(*[1] * 8), ALL, EIGHT, speaks=False)
    assert caplog.messages == []


@pytest.mark.parametrize(("gpu", "devices", "factor"), [(True, 2, 1), (False, 2, 2), (False, 1, 1)])
def test_a_step_that_needs_more_memory_than_there_is_is_said(gpu, devices, factor, monkeypatch, caplog):
    """A GPU has memory of its own; the devices of a CPU share it."""
    network = ResNet(20, 10)
    needed = factor * (bytes_of_state(network, EIGHT) + 2 * 8 * bytes_of_image(network, 16))
    for missing in (0, 1):
        monkeypatch.setattr(checks, "bytes_of_machine", lambda missing=missing: needed - missing)
        look_at_memory(network, 16, EIGHT, 2, devices, (needed - missing) if gpu else 0)
        assert len(caplog.messages) == missing
    assert ("and the GPU has" if gpu else "and the machine has") in caplog.messages[0]
    assert "what 16 images leave for the backward pass" in caplog.messages[0]


@pytest.mark.parametrize(("depth", "size"), [(20, 16), (50, 64), (152, 64)])
def test_the_quick_look_is_never_more_hopeful_than_the_graph(depth, size):
    """It takes more for each pixel of the input than any network needs, weights included, from 64 images on."""
    network = ResNet(depth, 1000)
    assert bytes_of_image(network, size) <= checks.MOST_BYTES_OF_PIXEL * size**2


def test_a_container_may_use_less_than_the_machine_has(tmp_path, monkeypatch):
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for content, expected in (("1000000\n", 10**6), ("max\n", physical)):
        (tmp_path / "max").write_text(content)
        monkeypatch.setattr(checks, "CGROUP_LIMIT", tmp_path / "max")
        assert bytes_of_machine() == expected

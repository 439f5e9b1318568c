import pytest

from resnet.artifacts import Machine
from resnet.errors import UserError
from resnet.training.distribution import make_strategy


def test_gpus_that_are_asked_for_and_not_there_are_an_error_and_no_silent_change_to_the_processor():
    with pytest.raises(UserError, match=r"1000 GPUs are asked for \(devices\), but TensorFlow finds \d+"):
        make_strategy(Machine(devices=1000))


def test_without_gpus_the_processor_is_one_device():
    assert make_strategy(Machine(), groups=4).num_replicas_in_sync >= 1

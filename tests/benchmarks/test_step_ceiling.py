"""How many multiplications and additions the ceiling of the training step has."""

from __future__ import annotations

import pytest
from step_ceiling import forward_operations

from resnet.model.network import ResNet


@pytest.mark.parametrize(("depth", "published"), [(18, 1.8e9), (34, 3.6e9), (50, 3.8e9)])
def test_they_are_those_of_table_1_of_the_paper(depth, published):
    """It counts a multiplication and the addition after it as one."""
    assert forward_operations(ResNet(depth, 1000), 224) / 2 == pytest.approx(published, rel=0.02)

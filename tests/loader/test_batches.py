"""How evaluation looks at images, and when a view is not what one expects."""

from __future__ import annotations

from resnet.loader.batches import doubts
from resnet.recipes import load_recipe

VIEWS = ("1-crop", "10-crop", "multi-scale")


def test_a_view_that_shows_less_or_other_than_one_expects_is_doubted():
    usual = load_recipe("imagenet-resnet50")[1]
    assert [doubts(view, usual) for view in VIEWS] == [[], [], []]
    same, mirrored = doubts("10-crop", load_recipe("digits")[1])
    assert "all crops are the same" in same
    assert "augmentation.flip" in mirrored
    [scale] = doubts("multi-scale", load_recipe("digits")[1])
    assert "one scale only" in scale
    assert doubts("1-crop", load_recipe("digits")[1]) == []

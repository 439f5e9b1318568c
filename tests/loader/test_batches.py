"""How evaluation looks at images, when a view is not what one expects, and what several hosts read."""

from __future__ import annotations

import numpy as np
import pytest
from sample_images import photographs, write_records

from resnet.loader.batches import doubts, training_batches, validation_batches
from resnet.loader.sampler import Share
from resnet.recipes import load_recipe
from resnet.records.shards import ShardedRecords

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


SMALL = ["training.batch_size=12", "training.replica_batch_size=6", "model.image_size=24", "evaluation.shorter_side=28"]


def read(batches) -> list[tuple[int, np.ndarray, list[int]]]:
    with batches:
        return [(batch.step, batch.images.copy(), batch.labels.tolist()) for batch in batches]


def assert_put_together(shares: list[list], whole: list) -> None:
    """Each batch of the whole stream is the batches of the hosts, one after the other."""
    for (step, images, labels), *parts in zip(whole, *shares, strict=True):
        assert {part[0] for part in parts} == {step}
        assert np.array_equal(np.concatenate([part[1] for part in parts]), images)
        assert [label for part in parts for label in part[2]] == labels


@pytest.mark.parametrize("hosts", [2, 3])
def test_hosts_together_read_the_training_images_of_one_to_the_last_bit(photo_records, hosts):
    recipe = load_recipe("imagefolder", SMALL)[1]
    batches = [training_batches(recipe, photo_records, 1, 3, 6, share=share) for share in shares_of(hosts)]
    whole = training_batches(recipe, photo_records, 1, 3, 6)  # batch 4 ends an epoch and begins the next
    assert_put_together([read(own) for own in batches], read(whole))


def test_a_host_without_an_image_in_the_last_validation_batch_gets_an_empty_one(tmp_path):
    write_records(tmp_path, "validation", photographs(70))  # two blocks of 64 hold them, of the four of a batch
    recipe, records = load_recipe("imagefolder", SMALL)[1], ShardedRecords(tmp_path, "validation")
    shares = [read(validation_batches(recipe, records, 1, devices=4, share=share)) for share in shares_of(4)]
    assert_put_together(shares, read(validation_batches(recipe, records, 1, devices=4)))
    assert [len(labels) for [(_, _, labels)] in shares] == [64, 6, 0, 0]


def test_devices_that_are_not_as_many_on_each_host_are_refused(photo_records):
    recipe = load_recipe("imagefolder", SMALL)[1]
    with pytest.raises(ValueError, match="3 devices are not as many on each of 2 hosts"):
        validation_batches(recipe, photo_records, 1, devices=3, share=Share(0, 2))


def shares_of(hosts: int) -> list[Share]:
    return [Share(rank, hosts) for rank in range(hosts)]

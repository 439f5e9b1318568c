"""Sums in one fixed order: the same additions, whichever devices do them."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from resnet.devices import gathered
from resnet.training.fixed_order import Plan, sum_over_replicas, taken


class Sum(str):
    """A sum that remembers its additions: "((0+1)+2)"."""

    def __add__(self, other: str) -> Sum:
        return Sum(f"({self}+{other})")


def on_devices(replicas: int, devices: int) -> str:
    """What all devices together compute, each by its row of the plan."""
    plan = Plan.of(replicas, devices)
    names = iter(range(replicas))
    nodes = []
    for additions, own in zip(plan.of_devices, plan.nodes, strict=True):
        left = piled([Sum(next(names)) for _ in additions], additions)
        assert len(left) == len(own) <= plan.most
        nodes += left
    [total] = piled(nodes, plan.of_nodes)
    return str(total)


def piled(sums: list[Sum], additions: np.ndarray) -> list[Sum]:
    """What is on the pile in the end."""
    left: list[Sum] = []
    for total, count in zip(sums, additions, strict=True):
        for _ in range(count):
            total = left.pop() + total
        left.append(total)
    return left


@given(st.data(), st.integers(1, 96))
def test_no_number_of_devices_changes_an_addition(data, replicas):
    devices = data.draw(st.sampled_from([count for count in range(1, replicas + 1) if replicas % count == 0]))
    assert on_devices(replicas, devices) == on_devices(replicas, 1)


def test_the_tree_is_that_of_the_docstring():
    assert on_devices(6, 1) == on_devices(6, 2) == on_devices(6, 3) == "(((0+1)+(2+3))+(4+5))"
    assert on_devices(7, 1) == "(((0+1)+(2+3))+((4+5)+6))"


@given(st.integers(1, 200))
def test_a_device_keeps_few_sums_however_many_replicas_it_has(replicas):
    assert (1 - Plan.of(replicas, 1).of_devices).cumsum().max() <= np.log2(replicas) + 1


@given(st.integers(0, 100), st.integers(1, 100))
def test_the_nodes_that_are_left_cover_the_replicas_in_order(first, count):
    _, nodes = taken([range(i, i + 1) for i in range(first, first + count)])
    assert [replica for node in nodes for replica in node] == list(range(first, first + count))
    assert all(node.start % len(node) == 0 and len(node).bit_count() == 1 for node in nodes)


class Gathering:
    """The context of a device, among three whose values come in another order than theirs."""

    order = (2, 0, 1)

    def __init__(self, values: list[float]):
        self._values, self.replica_id_in_sync_group = values, tf.constant(0)

    def all_gather(self, value: tf.Tensor, axis: int) -> tf.Tensor:
        if value.dtype == tf.int32:
            return tf.constant(self.order)
        return tf.constant([self._values[device] for device in self.order], shape=(3, *value.shape[1:]))


def test_the_order_is_that_of_the_devices_in_whatever_order_tensorflow_gathers(monkeypatch):
    """1 is less than what float32 can tell 1e8 from: (1e8 - 1e8) + 1 = 1, and any other order gives 0."""
    monkeypatch.setattr(tf.distribute, "get_replica_context", lambda: Gathering([1e8, -1e8, 1.0]))
    total = sum_over_replicas(lambda number: tf.constant([1e8]), Plan.of(3, 3), 1)
    assert total.numpy().tolist() == [1.0]


def test_gathered_values_can_be_had_in_the_order_of_the_devices(monkeypatch):
    monkeypatch.setattr(tf.distribute, "get_replica_context", lambda: Gathering([10.0, 11.0, 12.0]))
    assert gathered(tf.constant(10.0)).in_order().numpy().tolist() == [10, 11, 12]

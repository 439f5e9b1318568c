"""Sums over the replicas of a batch in one fixed order, whichever devices compute which of them.

Floats added in another order give other bits, and after some steps another network. So the replicas are the leaves of a
tree whose nodes have 1, 2, 4, 8 and so on of them, aligned at multiples of their size:

    0   1   2   3   4   5          0-1 = 0 + 1, 2-3 = 2 + 3, 0-3 = 0-1 + 2-3, 4-5 = 4 + 5
    |___|   |___|   |___|
      |_______|       |            the sum = 0-3 + 4-5: what is left over, from the right
          |___________|

A device adds up the nodes within its own replicas, as soon as both halves are there, which keeps few sums in memory. It
then has one node, or a few where its share does not begin or end with one. All devices exchange these nodes, and each
completes the tree. No number of devices or hosts changes which two numbers are added, nor how often anything is
rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import tensorflow as tf


class Addable(Protocol):
    def __add__(self: T, other: T) -> T: ...


T = TypeVar("T", bound=Addable)


class Plan(NamedTuple):
    """What each device adds up by itself."""

    additions: np.ndarray  # after each of a device's replicas, int32 [devices, replicas of a device]
    nodes: list[list[range]]  # those that each device ends with

    @classmethod
    def of(cls, replicas: int, devices: int) -> Plan:
        """The plan for replicas that the devices share evenly, in order."""
        each = replicas // devices
        shares = [[range(i, i + 1) for i in range(d * each, (d + 1) * each)] for d in range(devices)]
        additions, nodes = zip(*map(taken, shares), strict=True)
        return cls(np.array(additions, np.int32), list(nodes))

    @property
    def most(self) -> int:
        """The most nodes that a device ends with."""
        return max(map(len, self.nodes))

    @property
    def height(self) -> int:
        """The most nodes that a device has at a time."""
        return int(max((1 - row).cumsum().max() for row in self.additions))


def taken(nodes: Sequence[range]) -> tuple[list[int], list[range]]:
    """Take adjacent nodes from the left to the right, adding two as soon as they are the halves of a node.

    Returns the number of additions after each, and the nodes that are left.
    """
    counts, left = [], list[range]()
    for node in nodes:
        count = 0
        while left and len(left[-1]) == len(node) and left[-1].start % (2 * len(node)) == 0:
            node = range(left.pop().start, node.stop)
            count += 1
        left.append(node)
        counts.append(count)
    return counts, left


def completed(sums: Sequence[T], nodes: Sequence[range]) -> T:
    """The sum of all replicas, from the sums of adjacent nodes that cover them."""
    counts, _ = taken(nodes)
    left: list[T] = []
    for total, count in zip(sums, counts, strict=True):
        for _ in range(count):
            total = left.pop() + total
        left.append(total)
    total = left.pop()
    while left:
        total = left.pop() + total
    return total


def sum_over_replicas(of_replica: Callable[[tf.Tensor], tf.Tensor], plan: Plan, size: int) -> tf.Tensor:
    """The sum over the replicas of all devices of what `of_replica` gives for each replica of this device, counted from
    0: float32 [size]. Call it on every device, in replica context."""
    context = tf.distribute.get_replica_context()
    devices, replicas = plan.additions.shape
    if replicas == 1:
        sums = of_replica(tf.constant(0))[None]
    else:
        additions = tf.constant(plan.additions)[context.replica_id_in_sync_group]
        sums = _sums_of_nodes(of_replica, additions, plan, size)
    if devices > 1:
        sums = context.all_gather(sums, axis=0)
    rows = [device * plan.most + i for device, nodes in enumerate(plan.nodes) for i in range(len(nodes))]
    return completed([sums[row] for row in rows], [node for nodes in plan.nodes for node in nodes])


def _sums_of_nodes(
    of_replica: Callable[[tf.Tensor], tf.Tensor], additions: tf.Tensor, plan: Plan, size: int
) -> tf.Tensor:
    """The sums of the nodes that this device ends with: float32 [plan.most, size]; zeros where it has fewer.

    One replica after the other: their activations are never in memory together.
    """
    left = tf.TensorArray(tf.float32, plan.height, clear_after_read=False, element_shape=[size])
    left = left.unstack(tf.zeros([plan.height, size]))

    def take(replica: tf.Tensor, count: tf.Tensor, left: tf.TensorArray) -> tuple:
        def add(total: tf.Tensor, count: tf.Tensor, more: tf.Tensor) -> tuple:
            return left.read(count - 1) + total, count - 1, more - 1

        total, count, _ = tf.while_loop(
            lambda *state: state[-1] > 0, add, [of_replica(replica), count, additions[replica]], parallel_iterations=1
        )
        return replica + 1, count + 1, left.write(count, total)

    replicas = plan.additions.shape[1]
    *_, left = tf.while_loop(
        lambda replica, *_: replica < replicas, take, [tf.constant(0), tf.constant(0), left], parallel_iterations=1
    )
    return left.gather(tf.range(plan.most))

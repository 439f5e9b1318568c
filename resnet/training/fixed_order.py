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
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from resnet.devices import gathered

Rows = Callable[[tf.Tensor], tf.Tensor]  # from a number, counted from 0, to float32 [size]


class Plan(NamedTuple):
    """Who adds what. A sum waits on a pile until it is added to the next one; `additions` say how often that happens
    after each sum that comes: the new one is added to the upper one of the pile, and the result goes onto it."""

    of_devices: np.ndarray  # additions after each of a device's replicas, int32 [devices, replicas of a device]
    nodes: list[list[range]]  # those that each device ends with
    of_nodes: np.ndarray  # additions after each of these, from the first device to the last: int32 [n]

    @classmethod
    def of(cls, replicas: int, devices: int) -> Plan:
        """The plan for replicas that the devices share evenly, in order."""
        each = replicas // devices
        shares = [[range(i, i + 1) for i in range(d * each, (d + 1) * each)] for d in range(devices)]
        of_devices, nodes = zip(*map(taken, shares), strict=True)
        of_nodes, left = taken([node for own in nodes for node in own])
        of_nodes[-1] += len(left) - 1  # what is left over, from the right
        return cls(np.array(of_devices, np.int32), list(nodes), np.array(of_nodes, np.int32))

    @property
    def most(self) -> int:
        """The most nodes that a device ends with."""
        return max(map(len, self.nodes))


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


def sum_over_replicas(of_replica: Rows, plan: Plan, size: int) -> tf.Tensor:
    """The sum over the replicas of all devices of what `of_replica` gives for each replica of this device, counted from
    0: float32 [size]. Call it on every device, in replica context."""
    devices, replicas = plan.of_devices.shape
    if replicas == 1:
        own = of_replica(tf.constant(0))[None]
    else:
        device = tf.distribute.get_replica_context().replica_id_in_sync_group
        own = _pile(of_replica, plan.of_devices, device, plan.most, size)
    if devices == 1 and plan.most == 1:
        return own[0]
    of_device, number = zip(*((d, i) for d, nodes in enumerate(plan.nodes) for i in range(len(nodes))), strict=True)
    all_nodes = gathered(own)
    places = tf.gather(all_nodes.places, of_device) * plan.most + tf.constant(number)
    nodes = tf.reshape(all_nodes.values, [devices * plan.most, size])
    return _pile(lambda node: nodes[places[node]], plan.of_nodes[None], tf.constant(0), 1, size)[0]


def _pile(rows: Rows, all_additions: np.ndarray, which: tf.Tensor, most: int, size: int) -> tf.Tensor:
    """Take row after row onto the pile, by the additions of row `which` of a table; returns the lowest sums on it:
    float32 [most, size].

    It is a loop for two reasons. Of several replicas, the activations are never in memory together. And TensorFlow
    would be free to make one sum, in an order of its own, of additions that follow each other in a graph.
    """
    height = int((1 - all_additions).cumsum(1).max())
    additions = tf.constant(all_additions)[which]
    pile = tf.TensorArray(tf.float32, height, clear_after_read=False, element_shape=[size])
    pile = pile.unstack(tf.zeros([height, size]))

    def take(row: tf.Tensor, count: tf.Tensor, pile: tf.TensorArray) -> tuple:
        def add(total: tf.Tensor, count: tf.Tensor, more: tf.Tensor) -> tuple:
            return pile.read(count - 1) + total, count - 1, more - 1

        total, count, _ = tf.while_loop(
            lambda *state: state[-1] > 0, add, [rows(row), count, additions[row]], parallel_iterations=1
        )
        return row + 1, count + 1, pile.write(count, total)

    number = all_additions.shape[1]
    *_, pile = tf.while_loop(
        lambda row, *_: row < number, take, [tf.constant(0), tf.constant(0), pile], parallel_iterations=1
    )
    return pile.gather(tf.range(most))

"""The ranks of a cluster as threads of this process, which meet over real sockets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from resnet.hosts.cluster import Cluster, free_loopback_cluster
from resnet.hosts.meeting import Meeting, Times
from resnet.hosts.roll_call import meet

QUICK = Times(beat=0.05, gone=0.3, lost=30.0, leave=5.0)
HANGING_SECONDS = 30.0  # after which a rank counts as hanging: longer than anything that a test waits for


def in_threads(actions: Sequence[Callable[[], Any]]) -> list[Any]:
    """What the actions return, or the exceptions that they raise, in order. They run at the same time."""
    results: list[Any] = [TimeoutError("it hangs")] * len(actions)

    def run(number: int) -> None:
        try:
            results[number] = actions[number]()
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANGING_SECONDS)
    return results


def in_meeting(
    action: Callable[[Any], Any],
    hosts: int = 3,
    *,
    facts: Callable[[int], dict[str, str]] = lambda rank: {},
    clusters: Sequence[Cluster] = (),
    seconds: float = 20.0,
    on_end: Callable[[int, str], None] = lambda rank, message: None,
    times: Times = QUICK,
) -> list[Any]:
    """What `action(meeting)` returns or raises on each rank, after a roll call with `facts(rank)`."""

    def take_part(cluster: Cluster) -> Any:
        rank = cluster.rank
        with meet(
            cluster, facts(rank), seconds=seconds, on_end=lambda error: on_end(rank, str(error)), times=times
        ) as meeting:
            return action(meeting)

    clusters = clusters or free_loopback_cluster(hosts)
    return in_threads([lambda cluster=cluster: take_part(cluster) for cluster in clusters])


def rank_of(meeting: Meeting) -> int:
    return meeting.cluster.rank

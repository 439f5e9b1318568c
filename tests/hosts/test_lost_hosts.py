"""Hosts whose process ends or says nothing any more. The one that it happens to is a process, others are threads."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from rank_threads import QUICK, in_meeting, rank_of

from resnet.errors import Passing
from resnet.hosts.cluster import Cluster, free_loopback_cluster
from resnet.hosts.meeting import Meeting

RANK = """
import json, sys, threading
from resnet.hosts.cluster import Cluster
from resnet.hosts.meeting import Times
from resnet.hosts.roll_call import meet

addresses, rank, times = json.loads(sys.argv[1])
with meet(Cluster(tuple(addresses), rank), {}, times=Times(*times)) as meeting:
    print("met", flush=True)
    while meeting.turn():
        print("turn", flush=True)
        threading.Event().wait(0.001)
"""


class RankProcess:
    """A rank in a process of its own, which takes turns."""

    def __init__(self, cluster: Cluster, times: tuple[float, ...]):
        arguments = json.dumps([cluster.addresses, cluster.rank, times])
        command = [sys.executable, "-c", RANK, arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_for(self, lines: int) -> None:
        """Until it has begun so many turns, or has met the others (0)."""
        for _ in range(lines + 1):
            assert self.process.stdout.readline()

    def send(self, number: int) -> None:
        os.kill(self.process.pid, number)


@pytest.fixture
def rank_process() -> Iterator[Callable[..., RankProcess]]:
    started: list[RankProcess] = []

    def start(cluster: Cluster, times: tuple[float, ...] = QUICK) -> RankProcess:
        started.append(RankProcess(cluster, times))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


def take_turns(meeting: Meeting) -> None:
    while meeting.turn():
        threading.Event().wait(0.001)


@pytest.mark.parametrize("seed", range(3))
def test_all_others_end_with_the_name_of_a_killed_host(rank_process, seed):
    draw = random.Random(seed)
    clusters, ended = free_loopback_cluster(3), {}
    lost = seed % 3
    killed = rank_process(clusters[lost])

    def train(meeting: Meeting) -> None:
        if rank_of(meeting) == (lost + 1) % 3:
            killed.wait_for(lines=draw.randrange(300))
            killed.send(signal.SIGKILL)
        take_turns(meeting)

    others = [cluster for cluster in clusters if cluster.rank != lost]
    results = in_meeting(train, clusters=others, on_end=lambda rank, message: ended.update({rank: message}))
    expected = f"{clusters[0].named(lost)} was lost: its process has ended, or its machine cannot be reached."
    assert all(str(result).startswith(expected) for result in results)
    assert isinstance(results[0], Passing)  # who sees it knows that another attempt may have all hosts again
    assert "Start all hosts again" in str(results[0])


def test_a_host_that_says_nothing_any_more_is_lost_after_its_time_and_not_before(rank_process):
    clusters = free_loopback_cluster(2)
    stopped = rank_process(clusters[1], QUICK._replace(lost=30.0))
    verdicts = []

    def train(meeting: Meeting) -> None:
        stopped.wait_for(lines=5)
        stopped.send(signal.SIGSTOP)
        verdicts.append(meeting.verdict(0.6))  # longer than a lost connection is forgiven
        stopped.send(signal.SIGCONT)
        stopped.wait_for(lines=5)
        verdicts.append(meeting.verdict(0.3))
        stopped.send(signal.SIGSTOP)
        take_turns(meeting)

    (result,) = in_meeting(train, clusters=[clusters[0]], times=QUICK._replace(lost=2.0))
    assert verdicts == [None, None]
    assert str(result).startswith(f"{clusters[0].named(1)} was lost: nothing was heard from it for 2 s.")


def test_a_rank_that_was_stopped_does_not_blame_the_others(rank_process):
    clusters = free_loopback_cluster(2)
    stopped = rank_process(clusters[1], QUICK._replace(lost=1.5))

    def train(meeting: Meeting) -> int:
        stopped.wait_for(lines=0)
        stopped.send(signal.SIGSTOP)
        assert meeting.verdict(2.0) is None
        stopped.send(signal.SIGCONT)
        meeting.request_stop()
        take_turns(meeting)
        return stopped.process.wait(20)

    assert in_meeting(train, clusters=[clusters[0]]) == [0]


def test_a_process_that_loses_the_others_ends_by_itself_with_the_message(rank_process):
    clusters = free_loopback_cluster(2)
    processes = [rank_process(cluster) for cluster in clusters]
    processes[1].wait_for(lines=3)
    processes[0].send(signal.SIGKILL)
    _, errors = processes[1].process.communicate(timeout=20)
    assert processes[1].process.returncode == 1
    assert f"{clusters[0].named(0)} was lost" in errors

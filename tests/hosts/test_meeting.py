"""What ranks agree on after the roll call: when to stop, what the chief says, and how they end."""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter

import pytest
from rank_threads import QUICK, in_meeting, in_threads, rank_of

from resnet.errors import Passing, UserError
from resnet.hosts.cluster import Cluster, free_loopback_cluster
from resnet.hosts.meeting import Alone, Meeting
from resnet.hosts.roll_call import meet


class Collective:
    """Stands for what all ranks can only do together, like the sum of their gradients: whoever comes waits for all
    others. One that waits alone has been left behind, and raises BrokenBarrierError."""

    def __init__(self, hosts: int):
        self._barrier = threading.Barrier(hosts)

    def __call__(self) -> None:
        self._barrier.wait(timeout=10)


def turns_taken(meeting: Meeting, collective: Collective, most: int, stop_at: int | None = None) -> int:
    """Take turns until all have agreed to stop, or `most` are taken. `stop_at`: when this rank asks for the stop."""
    for number in range(most):
        if number == stop_at:
            meeting.request_stop()
        if not meeting.turn():
            return number
        collective()
    return most


def test_without_a_request_all_turns_are_taken():
    collective = Collective(3)
    assert in_meeting(lambda meeting: turns_taken(meeting, collective, 300)) == [300, 300, 300]


@pytest.mark.parametrize("seed", range(8))
def test_all_ranks_stop_after_the_same_turn_whoever_asks_and_whenever(seed):
    draw = random.Random(seed)
    hosts = draw.choice([2, 3, 4])
    # Some ranks ask, at the same moment or at others; the last of these turns would take seconds to reach.
    asks = {rank: draw.randrange(2000) for rank in draw.sample(range(hosts), draw.randint(1, hosts))}
    collective = Collective(hosts)

    def train(meeting: Meeting) -> int:
        stopped_at = turns_taken(meeting, collective, 1_000_000, asks.get(rank_of(meeting)))
        assert not meeting.turn()  # and it stays so
        assert meeting.is_at_end
        return stopped_at

    taken = in_meeting(train, hosts)
    assert len(set(taken)) == 1, taken
    assert min(asks.values()) <= taken[0] < 1_000_000


def test_a_rank_that_is_slower_than_the_others_goes_on_to_their_turn():
    # Turns without a collective: ranks are anywhere when the stop is asked for.
    def train(meeting: Meeting) -> int:
        taken, idle = 0, threading.Event()
        while meeting.turn():
            taken += 1
            if rank_of(meeting) == 0 and taken == 5:
                meeting.request_stop()
            idle.wait(0.001 * (1 + 10 * rank_of(meeting)))
        return taken

    taken = in_meeting(train)
    assert len(set(taken)) == 1
    assert taken[0] >= 5


def test_after_a_request_no_turn_begins_that_others_have_not_begun():
    def train(meeting: Meeting) -> list[bool]:
        turns = [meeting.turn()]
        if rank_of(meeting) == 1:
            meeting.request_stop()
        meeting.agree({})  # the request travels with this point, and the answers with the next
        meeting.agree({})
        return [*turns, meeting.turn(), meeting.turn()]

    assert in_meeting(train) == [[True, False, False]] * 3


def test_a_request_after_the_last_turn_disturbs_nobody():
    collective = Collective(3)

    def train(meeting: Meeting) -> int:
        taken = turns_taken(meeting, collective, 20)
        meeting.request_stop()
        meeting.agree({})
        return meeting.from_chief(taken)

    assert in_meeting(train) == [20, 20, 20]


def test_a_signal_handler_may_ask_for_the_stop_at_any_moment():
    clusters, collective = free_loopback_cluster(2), Collective(2)
    previous = signal.getsignal(signal.SIGALRM)

    def other() -> int:
        with meet(clusters[1], {}) as meeting:
            return turns_taken(meeting, collective, 1_000_000)

    others: list = []
    thread = threading.Thread(target=lambda: others.extend(in_threads([other])))
    thread.start()
    with meet(clusters[0], {}) as meeting:
        signal.signal(signal.SIGALRM, lambda *_: meeting.request_stop())
        signal.setitimer(signal.ITIMER_REAL, 0.2, 0.0001)  # again and again, also while the lock is taken
        try:
            taken = turns_taken(meeting, collective, 1_000_000)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
    thread.join()
    assert others == [taken]
    assert taken < 1_000_000


def test_facts_can_be_compared_again():
    def compare(meeting: Meeting) -> None:
        meeting.agree({"step": "5"})
        meeting.agree({"weights": "abc" if rank_of(meeting) < 2 else "abd"})

    results = in_meeting(compare)
    assert len({str(result) for result in results}) == 1
    assert "host 2 (127.0.0.1:" in str(results[0])
    assert "differs in weights: abd there, and abc on host 0" in str(results[0])


def test_every_rank_gets_the_chiefs_value():
    def ask(meeting: Meeting) -> list:
        return [meeting.from_chief({"step": 5} if meeting.cluster.is_chief else "mine"), meeting.from_chief(None)]

    assert in_meeting(ask) == [[{"step": 5}, None]] * 3


def test_ranks_that_are_at_different_points_hear_of_it():
    results = in_meeting(lambda meeting: meeting.agree({"step": "5"}) if rank_of(meeting) else meeting.from_chief(5), 2)
    assert all("differs in step: 5 there, and nothing on host 0" in str(result) for result in results)


@pytest.mark.parametrize("late", [0, 2])
def test_a_rank_that_does_not_come_to_the_same_point_is_named(late):
    is_over, over = threading.Event(), Counter()

    def compare(meeting: Meeting) -> None:
        if rank_of(meeting) == late:
            is_over.wait()
            meeting.agree({})
        try:
            meeting.agree({}, seconds=0.5)
        finally:
            over["ranks"] += 1
            if over["ranks"] == 2:
                is_over.set()

    results = in_meeting(compare)
    for rank in {0, 1, 2} - {late}:
        assert f"host {late} (127.0.0.1:" in str(results[rank])
        assert "did not come as far as the others within" in str(results[rank])


def test_what_a_rank_reports_is_with_the_chief_at_the_next_point_and_replaces_what_it_reported_before():
    def report(meeting: Meeting) -> dict:
        meeting.report("read", 7)
        for count in (1, 2):
            meeting.report("corrupt", [f"record {rank_of(meeting)}"] * count)
        meeting.agree({})
        return dict(meeting.reported)

    chief, worker, _ = in_meeting(report)
    assert chief == {rank: {"read": 7, "corrupt": [f"record {rank}"] * 2} for rank in range(3)}
    assert worker == {1: chief[1]}


def test_what_a_rank_reports_before_it_leaves_is_there_after_the_chief_has_left():
    cluster = free_loopback_cluster(2)

    def take_part(own: Cluster) -> dict:
        with meet(own, {}) as meeting:
            meeting.report("rank", own.rank)
        return dict(meeting.reported)

    assert in_threads([lambda: take_part(cluster[0]), lambda: take_part(cluster[1])])[0] == {
        0: {"rank": 0},
        1: {"rank": 1},
    }


@pytest.mark.parametrize("failing", [0, 1])
def test_the_failure_of_a_rank_ends_all_others_with_its_message(failing):
    ended = {}

    def train(meeting: Meeting) -> None:
        if rank_of(meeting) == failing:
            raise UserError("the disk is full")
        while True:
            meeting.turn()

    results = in_meeting(train, on_end=lambda rank, message: ended.update({rank: message}))
    expected = f"host {failing} (127.0.0.1:"
    assert str(results[failing]) == "the disk is full"
    assert failing not in ended
    for rank in {0, 1, 2} - {failing}:
        assert str(results[rank]).startswith(expected)
        assert str(results[rank]).endswith(" failed: the disk is full")


def test_a_rank_whose_main_thread_is_elsewhere_is_ended_by_its_own_thread():
    ended, all_ended = {}, threading.Event()

    def end(rank: int, message: str) -> None:
        ended[rank] = message
        if len(ended) == 2:
            all_ended.set()

    def train(meeting: Meeting) -> None:
        if rank_of(meeting) == 1:
            raise RuntimeError("a bug")
        all_ended.wait()  # as in a collective that never ends

    in_meeting(train, on_end=end, times=QUICK._replace(leave=60.0))
    assert set(ended) == {0, 2}
    assert all(message.endswith(" failed: RuntimeError: a bug") for message in ended.values())


def test_a_verdict_comes_as_soon_as_one_is_known_and_otherwise_not():
    is_asked = threading.Barrier(3)

    def train(meeting: Meeting) -> str:
        assert meeting.verdict(0.05) is None
        is_asked.wait()
        if rank_of(meeting) == 2:
            raise UserError("out of memory")
        error = meeting.verdict(20)
        assert not isinstance(error, Passing)  # another attempt would have no more memory
        return str(error)

    first, second, _ = in_meeting(train)
    assert first == second
    assert first.endswith(" failed: out of memory")


def test_ranks_leave_in_any_order_and_nobody_misses_them():
    ended: dict[int, str] = {}
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        done = [threading.Event() for _ in range(3)]

        def wait(meeting: Meeting, order=order, done=done) -> UserError | None:
            place = order.index(rank_of(meeting))
            if place:
                done[order[place - 1]].wait()
            done[rank_of(meeting)].set()
            return meeting.verdict(0.5) if place == 2 else None  # longer than a lost connection is forgiven

        assert in_meeting(wait, on_end=lambda rank, message: ended.update({rank: message})) == [None, None, None]
    assert ended == {}


def test_an_interruption_that_all_have_agreed_on_is_an_orderly_end():
    collective, ended = Collective(2), {}

    def train(meeting: Meeting) -> None:
        turns_taken(meeting, collective, 1_000_000, stop_at=3 if rank_of(meeting) else None)
        raise KeyboardInterrupt

    results = in_meeting(train, 2, on_end=lambda rank, message: ended.update({rank: message}))
    assert [type(result) for result in results] == [KeyboardInterrupt] * 2
    assert ended == {}


def test_an_interruption_of_one_rank_alone_ends_the_others():
    def train(meeting: Meeting) -> None:
        if rank_of(meeting):
            raise KeyboardInterrupt
        while True:
            meeting.turn()

    assert str(in_meeting(train, 2)[0]).endswith(" failed: it was interrupted")


def test_a_second_ctrl_c_before_the_agreed_end_is_no_orderly_end():
    """Rank 0 has begun a turn, which rank 1 owes it: the stop is agreed on for after that."""
    begun = threading.Event()

    def train(meeting: Meeting) -> None:
        if rank_of(meeting):
            begun.wait(20)
            meeting.request_stop()
            raise KeyboardInterrupt
        assert meeting.turn()
        begun.set()
        if end := meeting.verdict(20):
            raise end

    waiting, interrupted = in_meeting(train, 2)
    assert isinstance(interrupted, KeyboardInterrupt)
    assert str(waiting).endswith(" failed: it was interrupted")


def test_ranks_that_come_together_wait_for_the_last_one():
    order: list[str] = []
    last = threading.Event()

    def come(meeting: Meeting) -> None:
        if rank_of(meeting) == 2:
            last.wait(20)
            order.append("the last one comes")
        else:
            last.set()
        meeting.come_together()
        order.append("together")

    assert in_meeting(come, 3) == [None] * 3
    assert order == ["the last one comes", *["together"] * 3]


def test_the_chief_says_for_whom_it_waits(monkeypatch):
    clusters, has_said, said, chief = free_loopback_cluster(3), threading.Event(), [], []

    def warn(message: str, *values: str) -> None:
        said.append((threading.current_thread(), message % values))
        has_said.set()

    monkeypatch.setattr("resnet.hosts.connected.logger.warning", warn)

    def come(meeting: Meeting) -> None:
        if rank_of(meeting) == 0:
            chief.append(threading.current_thread())
        if rank_of(meeting) == 2:
            assert has_said.wait(20)
        meeting.come_together()

    assert in_meeting(come, clusters=clusters, times=QUICK._replace(say=1)) == [None] * 3
    for thread, line in said:
        assert thread == chief[0]
        assert line.startswith(f"still waiting for {clusters[2].named(2)}, after ")


def test_ranks_that_wait_for_one_another_go_on_when_one_asks_to_stop():
    def come(meeting: Meeting) -> bool:
        if rank_of(meeting) == 1:
            meeting.request_stop()
            while not meeting.is_at_end:
                meeting.verdict(0.05)
        else:
            meeting.come_together()
        return meeting.turn()

    assert in_meeting(come, 3) == [False] * 3


def test_one_host_alone_has_the_same_calls_and_waits_for_nobody():
    with Alone() as meeting:
        assert meeting.turn()
        assert meeting.from_chief({"step": 5}) == {"step": 5}
        meeting.agree({"code": "x"})
        meeting.report("corrupt", ["a"])
        assert meeting.reported == {0: {"corrupt": ["a"]}}
        assert meeting.verdict(60) is None
        meeting.fail("anything")
        meeting.request_stop()
        assert meeting.is_at_end
        assert not meeting.turn()

"""How hosts meet, over real sockets on this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest
import zmq
from rank_threads import QUICK, in_meeting, in_threads, rank_of

from resnet.errors import UserError
from resnet.hosts import roll_call
from resnet.hosts.cluster import ONE_HOST, Cluster, free_loopback_cluster
from resnet.hosts.meeting import Alone
from resnet.hosts.messages import MOST_BYTES, VERSION, word_of
from resnet.hosts.roll_call import PORT, meet

SOON = 1.0  # seconds: a test waits for them


def message(cluster: Cluster, **changes) -> bytes:
    """A worker's message, as a process that is not in the test's control might send it."""
    sender = {"version": VERSION, "cluster": word_of(cluster), "session": "", "rank": cluster.rank}
    state = {"offer": {"number": 0, "facts": {}}}
    return json.dumps(sender | {"process": "process 5 on n5", "token": "t", "state": state} | changes).encode()


@pytest.fixture
def stranger():
    """stranger(cluster): a socket of ZeroMQ that is connected to where this cluster meets."""
    context = zmq.Context()

    def connect(cluster: Cluster) -> zmq.Socket:
        dealer = context.socket(zmq.DEALER)
        dealer.connect(f"tcp://127.0.0.1:{cluster.meeting_port}")
        return dealer

    yield connect
    context.destroy(linger=0)


def same_error(results: list) -> str:
    """The message of the one error that all ranks have raised."""
    assert [type(result) for result in results] == [UserError] * len(results)
    assert len({str(result) for result in results}) == 1
    return str(results[0])


@pytest.mark.parametrize("hosts", [2, 5])
def test_hosts_that_agree_meet(hosts):
    assert in_meeting(rank_of, hosts, facts=lambda rank: {"code": "x"}) == list(range(hosts))


def test_one_host_meets_nobody():
    with meet(ONE_HOST, {"code": "x"}) as meeting:
        assert isinstance(meeting, Alone)


def test_every_host_says_who_disagrees_on_what():
    batch_sizes = ["256", "256", "128"]
    results = in_meeting(rank_of, facts=lambda rank: {"recipe.training.batch_size": batch_sizes[rank], "code": "x"})
    assert "host 2 (127.0.0.1:" in same_error(results)
    assert "differs in recipe: training.batch_size is 128 there, and 256 on host 0" in same_error(results)
    assert same_error(results).count("differs in") == 1


@pytest.mark.parametrize("missing", [1, 2])
def test_a_worker_that_never_comes_is_named_by_every_host_that_has_come(missing):
    clusters = free_loopback_cluster(3)
    came = [cluster for cluster in clusters if cluster.rank != missing]
    error = same_error(in_meeting(rank_of, clusters=came, seconds=SOON))
    assert error.startswith(f"{clusters[0].named(missing)} did not come within 1 s.")
    assert f"port {clusters[0].meeting_port} of 127.0.0.1" in error
    assert PORT in error


def test_a_chief_that_never_comes_is_named_by_every_worker():
    clusters = free_loopback_cluster(3)
    error = same_error(in_meeting(rank_of, clusters=clusters[1:], seconds=SOON))
    assert error.startswith(f"{clusters[0].named(0)} did not come within 1 s.")


def test_hosts_may_come_one_after_the_other():
    clusters, has_come = free_loopback_cluster(2), threading.Event()

    def late() -> int:
        has_come.wait()
        with meet(clusters[0], {}, times=QUICK) as meeting:
            return rank_of(meeting)

    def early() -> int:
        has_come.set()
        with meet(clusters[1], {}, times=QUICK) as meeting:
            return rank_of(meeting)

    assert in_threads([late, early]) == [0, 1]


def test_a_port_in_use_is_named_by_the_chief_and_the_others_do_not_wait_for_ever():
    clusters = free_loopback_cluster(2)
    port = clusters[0].meeting_port
    with socket.create_server(("127.0.0.1", port)):
        chief, worker = in_meeting(rank_of, clusters=clusters, seconds=SOON)
    assert f"port {port} of 127.0.0.1, where the hosts meet, is in use" in str(chief)
    assert f"set {PORT} to a free port" in str(chief)
    assert str(worker).startswith(f"{clusters[0].named(0)} did not come")


def test_another_port_can_be_set(monkeypatch):
    clusters = free_loopback_cluster(2)
    with socket.create_server(("127.0.0.1", clusters[0].meeting_port)):
        monkeypatch.setenv(PORT, str(clusters[0].meeting_port + 1))
        assert in_meeting(rank_of, clusters=clusters) == [0, 1]


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "٣"])
def test_what_is_no_port_is_refused(monkeypatch, port):
    monkeypatch.setenv(PORT, port)
    with pytest.raises(UserError, match=f"{PORT} is .* not a number from 1 to 65,535"):
        meet(Cluster(("a:1", "b:2"), 0), {})


def test_a_chief_listens_at_its_own_address_only():
    clusters = free_loopback_cluster(2)

    def look(meeting) -> bool:
        meeting.agree({})  # both are here
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.2", clusters[0].meeting_port)) == 0

    assert in_meeting(look, clusters=clusters) == [False, False]


def test_a_chief_whose_own_name_has_a_loopback_number_can_be_reached_from_elsewhere():
    # As on Debian, where /etc/hosts says so of a machine's own name.
    one, _ = free_loopback_cluster(2)
    addresses = (one.addresses[0].replace("127.0.0.1", "localhost"), one.addresses[1])

    def look(meeting) -> bool:
        meeting.agree({})
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.2", one.meeting_port)) == 0

    assert in_meeting(look, clusters=[Cluster(addresses, 0), Cluster(addresses, 1)]) == [True, True]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("no-such-host.invalid:8888", ["no-such-host.invalid:8888", "has a name that is not known here"]),
        (
            "198.51.100.7:8888",
            ["198.51.100.7, which is not an address of this machine", "start rank 0 on that"],
        ),
    ],
)
def test_a_chief_that_is_not_at_its_own_address_says_so(address, words):
    with pytest.raises(UserError) as error:
        meet(Cluster((address, "127.0.0.1:8888"), 0), {}, seconds=0.5)
    for word in words:
        assert word in str(error.value)


def test_a_name_that_stands_for_an_earlier_number_at_first_is_looked_up_again(monkeypatch):
    numbers = iter(["198.51.100.7", "127.0.0.1"])
    monkeypatch.setattr("resnet.hosts.roll_call._number_of", lambda *_: next(numbers))
    monkeypatch.setattr("resnet.hosts.roll_call.NAME_SECONDS", 0.01)
    addresses = ("localhost:8888", "localhost:8889")
    assert in_meeting(lambda meeting: True, clusters=[Cluster(addresses, 0), Cluster(addresses, 1)]) == [True, True]


def test_a_name_that_is_known_only_after_a_while_is_waited_for(monkeypatch):
    """A new pod's, say."""
    answers = iter([OSError("not yet"), [(0, 0, 0, "", ("127.0.0.1", 0))]])

    def look_up(*arguments):
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(roll_call.socket, "getaddrinfo", look_up)
    monkeypatch.setattr(roll_call, "NAME_SECONDS", 0.0)
    cluster = Cluster(("pod-0:8888", "pod-1:8888"), 0)
    assert roll_call._number_of(cluster, 8889, time.monotonic() + 60) == "127.0.0.1"


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    "name", ["localhost", pytest.param("[::1]", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here"))]
)
def test_hosts_meet_at_names_and_at_numbers_of_both_kinds(name):
    first = int(free_loopback_cluster(2)[0].addresses[0].rpartition(":")[2])
    addresses = (f"{name}:{first}", f"{name}:{first + 1}")
    assert in_meeting(rank_of, clusters=[Cluster(addresses, 0), Cluster(addresses, 1)]) == [0, 1]


RUBBISH = [
    b"",
    b"\x00" * 100,
    b"GET / HTTP/1.1\r\nHost: n1\r\n\r\n",
    b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL" + b"\x00" * 64,  # ZeroMQ's greeting, and no more
    b"\xff" * 5000,
]


def test_strangers_are_ignored_and_counted(stranger):
    chief, worker = free_loopback_cluster(2)
    visitor = stranger(chief)
    other = Cluster(("x:1", "y:2"), 1)

    def disturb(meeting) -> dict:
        if meeting.cluster.is_chief:
            for rubbish in RUBBISH:
                with socket.create_connection(("127.0.0.1", chief.meeting_port)) as connection:
                    connection.sendall(rubbish)
            for body in [b"rubbish", b"{}", message(other), message(worker, session="old"), message(worker, rank=2)]:
                visitor.send(body)
            visitor.send_multipart([b"", message(worker)])  # as ZeroMQ's other patterns frame it
            stranger(chief).send(b"x" * (MOST_BYTES + 1))
            while sum(meeting.ignored.values()) < 6:
                meeting.verdict(0.05)
        meeting.agree({})  # and all goes on
        return dict(meeting.ignored) if meeting.cluster.is_chief else {}

    counts, _ = in_meeting(disturb, clusters=[chief, worker])
    assert counts.pop("bytes that are no message of ours") >= 3  # some of the rubbish may reach ZeroMQ as messages
    assert counts == {"messages for another cluster": 1, "messages for another meeting": 2}


def test_strangers_are_named_where_a_host_does_not_come(stranger):
    chief, _ = free_loopback_cluster(2)
    stranger(chief).send(message(Cluster(("x:1", "y:2"), 1)))
    (error,) = in_meeting(rank_of, clusters=[chief], seconds=SOON)
    assert "Ignored: 1 messages for another cluster." in str(error)


def test_another_version_of_the_code_is_an_error_for_all(stranger):
    clusters = free_loopback_cluster(3)
    visitor = stranger(clusters[0])
    visitor.send(message(clusters[2], version=VERSION + 1, state="in another form"))  # it may come before host 1
    error = same_error(in_meeting(rank_of, clusters=clusters[:2]))
    assert f"process 5 on n5 speaks version {VERSION + 1} of the messages between hosts" in error
    assert "install the same code on all hosts" in error
    assert json.loads(visitor.recv())["version"] == VERSION  # by which the other one knows it too


def test_two_processes_for_one_rank_are_an_error_for_all():
    clusters = free_loopback_cluster(3)
    error = same_error(in_meeting(rank_of, clusters=[*clusters[:2], clusters[1]]))
    assert f"two processes say that they are {clusters[1].named(1)}: process " in error


def test_a_second_process_that_comes_later_is_refused_and_the_run_goes_on():
    clusters = free_loopback_cluster(2)

    def refuse(meeting) -> str:
        meeting.agree({})  # the roll call is over for both
        error = ""
        if rank_of(meeting) == 1:
            with pytest.raises(UserError) as refused:
                meet(clusters[1], {}, times=QUICK)
            error = str(refused.value)
        meeting.agree({})
        return error

    _, error = in_meeting(refuse, clusters=clusters)
    assert error.startswith(f"the run has begun without this process: {clusters[1].named(1)} is process ")


def test_a_worker_that_is_started_again_during_the_roll_call_takes_its_own_place(stranger):
    clusters, is_replaced = free_loopback_cluster(3), threading.Event()
    first = stranger(clusters[0])
    first.send(message(clusters[1]))

    def come(cluster: Cluster) -> int:
        with meet(cluster, {}, times=QUICK) as meeting:
            return rank_of(meeting)

    def come_again() -> int:
        assert json.loads(first.recv())["state"]["missing"] == [2]  # the chief knows the first process
        first.context.destroy(linger=0)  # as if its process had ended
        is_replaced.set()
        return come(clusters[1])

    def come_last() -> int:
        is_replaced.wait()
        return come(clusters[2])

    assert in_threads([lambda: come(clusters[0]), come_again, come_last]) == [0, 1, 2]


def test_a_worker_that_comes_and_is_lost_again_has_not_come(stranger):
    clusters = free_loopback_cluster(4)
    first, second = stranger(clusters[0]), stranger(clusters[0])
    first.send(message(clusters[1]))

    def come_and_go() -> None:
        assert json.loads(first.recv())["state"]["missing"] == [2, 3]
        second.send(message(clusters[2]))
        while json.loads(second.recv())["state"]["missing"] != [3]:
            pass
        first.close(linger=0)
        while json.loads(second.recv())["state"]["missing"] != [1, 3]:
            pass

    def call() -> None:
        with meet(clusters[0], {}, seconds=2 * SOON, times=QUICK):
            pass

    error, nothing = in_threads([call, come_and_go])
    assert nothing is None
    assert str(error).startswith(f"{clusters[0].named(1)} and {clusters[0].named(3)} did not come within 2 s.")


@pytest.mark.parametrize("listens", [False, True])
def test_by_default_the_end_shows_its_message_and_ends_the_process(tmp_path, listens):
    news = tmp_path / "news"
    code = """
from resnet import console
from resnet.errors import Passing
from resnet.hosts.roll_call import end_process
console.configure()
end_process(Passing("host 1 was lost"))
print("not here")
"""
    with open(news, "wb") as pipe:
        environ = {"RESNET_PROGRESS_FD": str(pipe.fileno())} if listens else {}
        ended = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | environ,
            pass_fds=[pipe.fileno()],
            capture_output=True,
            text=True,
        )
    assert (ended.returncode, ended.stdout) == (75, "")
    assert ended.stderr == ("" if listens else "error: host 1 was lost\n")
    assert news.read_text() == ('{"error": "host 1 was lost"}\n' if listens else "")

"""The roll call: before anything else, the hosts meet and find out whether they can train together.

What it promises:
- when `meet` returns, every rank of the cluster is there once, and all have the same facts;
- otherwise every rank that has come raises UserError within `seconds`: where facts differ, all of them with the same
  message, which names host, fact and both values; where a rank does not come, with that rank's address;
- what else arrives at the port (rubbish, other protocols, messages for another cluster) is ignored and counted, and a
  second process for a rank gets an error.

It guards against mistakes, not against attackers on the network: TensorFlow's own connections do not either.

Where: the chief listens at the first port after TensorFlow's own that no host of the cluster has. All ranks find it
from the addresses alone, and successive ports of several hosts on one machine do not collide with it. The environment
variable RESNET_MEETING_PORT sets another one, where a firewall or another program asks for it.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import socket
import sys
import time
from collections.abc import Callable

import zmq

from resnet.console import UNSHOWN
from resnet.errors import UserError
from resnet.hosts.chief import Chief
from resnet.hosts.cluster import Cluster
from resnet.hosts.connected import Connected
from resnet.hosts.facts import Facts
from resnet.hosts.link import Link
from resnet.hosts.meeting import Alone, Meeting, Times
from resnet.hosts.worker import Worker
from resnet.progress import send_to_parent

logger = logging.getLogger(__name__)

PORT, SECONDS = "RESNET_MEETING_PORT", "RESNET_MEETING_SECONDS"  # environment
MEET_SECONDS = 45
NAME_SECONDS = 1.0  # between two looks for a name


def end_process(error: UserError) -> None:
    """Show the error as a command does, and end this process at once: its main thread may wait for the others for
    ever."""
    logger.error("%s", error, extra=UNSHOWN)
    if not send_to_parent(error=str(error)):
        print(f"error: {error}", file=sys.stderr, flush=True)
    os._exit(error.exit_code)


def meet(
    cluster: Cluster,
    facts: Facts,
    *,
    seconds: float | None = None,
    on_end: Callable[[UserError], None] = end_process,
    times: Times | None = None,
) -> Meeting:
    """Wait for all ranks, and compare facts; returns the open meeting, a context manager.

    `facts`: what must agree, texts by name; `seconds`: to wait, by default what RESNET_MEETING_SECONDS says, or 45;
    `on_end`: see `resnet.hosts.meeting`. One host meets nobody, and at once.
    """
    if cluster.hosts == 1:
        return Alone(cluster)
    seconds = _from_environment(SECONDS, MEET_SECONDS, 10**6) if seconds is None else seconds
    deadline = time.monotonic() + seconds
    port, times = _from_environment(PORT, cluster.meeting_port, 65_535), times or Times()
    if cluster.is_chief:
        meeting: Connected = Chief(cluster, _bound(cluster, port, deadline), on_end, times)
    else:
        meeting = Worker(
            cluster, Link.connected(f"tcp://{cluster.addresses[0].rpartition(':')[0]}:{port}"), on_end, times
        )
    meeting.assemble(facts, max(deadline - time.monotonic(), 1.0), lambda: _advice(meeting, port))
    return meeting


def _from_environment(name: str, default: int, most: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= most):
        raise UserError(f"the environment variable {name} is {text!r}, and not a number from 1 to {most:,}")
    return int(text)


def _bound(cluster: Cluster, port: int, deadline: float) -> Link:
    """The chief's socket, at the number that its name stands for: only what this address reaches can connect.

    For a while, the name of a pod that was started again may stand for the number that it had before.
    """
    while True:
        number = _number_of(cluster, port, deadline)
        is_loopback = ipaddress.ip_address(number.partition("%")[0]).is_loopback
        if is_loopback and len(cluster.processes_on_machine) < cluster.hosts:
            number = "0.0.0.0"  # Debian gives a machine's own name a loopback number, at which others do not reach it
        try:
            return Link.bound(f"tcp://[{number}]:{port}" if ":" in number else f"tcp://{number}:{port}")
        except zmq.ZMQError as error:
            if error.errno != errno.EADDRNOTAVAIL or time.monotonic() + NAME_SECONDS > deadline:
                raise UserError(_unbindable(cluster, number, port, error.errno or 0)) from None
        time.sleep(NAME_SECONDS)


def _number_of(cluster: Cluster, port: int, deadline: float) -> str:
    """What the chief's name stands for. That of a new pod may be known only after some seconds."""
    name = cluster.machine(0)
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    while True:
        try:
            return str(socket.getaddrinfo(name, port, family, socket.SOCK_STREAM)[0][4][0])
        except OSError as error:
            if time.monotonic() + NAME_SECONDS > deadline:
                raise UserError(
                    f"the address of this host, {cluster.addresses[0]}, has a name that is not known here "
                    f"({error.strerror}): use one that all hosts know, or a number"
                ) from None
        time.sleep(NAME_SECONDS)


def _unbindable(cluster: Cluster, number: str, port: int, code: int) -> str:
    if code == errno.EADDRINUSE:
        return (
            f"port {port} of {number}, where the hosts meet, is in use: end the other program (`ss -ltnp` names it; it "
            f"may be an earlier attempt), or set {PORT} to a free port on all hosts"
        )
    if code == errno.EADDRNOTAVAIL:
        return (
            f"{cluster.named(0)} is {number}, which is not an address of this machine: start rank 0 on that machine, "
            "or give it a name that stands for the machine's own address, not for a service in front of it"
        )
    return f"cannot listen at port {port} of {number}: {os.strerror(code)}. Set {PORT} to another port on all hosts"


def _advice(meeting: Connected, port: int) -> str:
    """What to do when a rank has not come."""
    place = f"port {port} of {meeting.cluster.machine(0)}"
    lines = [
        "",
        "Start all hosts within this time, and look for their own messages.",
        f"They meet at {place}: no firewall may block it, and {PORT} sets another one, the same on all hosts. "
        f"{SECONDS} gives more time.",
    ]
    if meeting.ignored:
        lines.append(f"Ignored: {', '.join(f'{count} {what}' for what, count in sorted(meeting.ignored.items()))}.")
    return " ".join(lines)

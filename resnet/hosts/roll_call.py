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
import os
import socket
import sys
from collections.abc import Callable

import zmq

from resnet.errors import UserError
from resnet.hosts.chief import Chief
from resnet.hosts.cluster import Cluster
from resnet.hosts.connected import Connected
from resnet.hosts.facts import Facts
from resnet.hosts.link import Link
from resnet.hosts.meeting import Alone, Meeting, Times
from resnet.hosts.worker import Worker
from resnet.progress import send_to_parent

PORT = "RESNET_MEETING_PORT"  # environment
MEET_SECONDS = 45.0


def end_process(message: str) -> None:
    """Show the message as a command shows its error, and end this process at once: its main thread may wait for the
    others for ever."""
    if not send_to_parent(error=message):
        print(f"error: {message}", file=sys.stderr, flush=True)
    os._exit(1)


def meet(
    cluster: Cluster,
    facts: Facts,
    *,
    seconds: float = MEET_SECONDS,
    on_end: Callable[[str], None] = end_process,
    times: Times | None = None,
) -> Meeting:
    """Wait for all ranks, and compare facts; returns the open meeting, a context manager.

    `facts`: what must agree, texts by name; `on_end`: see `resnet.hosts.meeting`. One host meets nobody, and at once.
    """
    if cluster.hosts == 1:
        return Alone(cluster)
    port, times = _port(cluster), times or Times()
    if cluster.is_chief:
        meeting: Connected = Chief(cluster, _bound(cluster, port), on_end, times)
    else:
        meeting = Worker(
            cluster, Link.connected(f"tcp://{cluster.addresses[0].rpartition(':')[0]}:{port}"), on_end, times
        )
    meeting.assemble(facts, seconds, lambda: _advice(meeting, port))
    return meeting


def _port(cluster: Cluster) -> int:
    text = os.environ.get(PORT, "")
    if not text:
        return cluster.meeting_port
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65_536):
        raise UserError(f"the environment variable {PORT} is {text!r}, and not a port: set a number from 1 to 65535")
    return int(text)


def _bound(cluster: Cluster, port: int) -> Link:
    """The chief's socket, at the number that its name stands for: only what this address reaches can connect."""
    name = cluster.machine(0)
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    try:
        number = str(socket.getaddrinfo(name, port, family, socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise UserError(
            f"the address of this host, {cluster.addresses[0]}, has a name that is not known here ({error.strerror}): "
            "use one that all hosts know, or a number"
        ) from None
    is_loopback = ipaddress.ip_address(number.partition("%")[0]).is_loopback
    if is_loopback and len(cluster.processes_on_machine) < cluster.hosts:
        number = "0.0.0.0"  # Debian gives a machine's own name a loopback number, at which others do not reach it
    try:
        return Link.bound(f"tcp://[{number}]:{port}" if ":" in number else f"tcp://{number}:{port}")
    except zmq.ZMQError as error:
        raise UserError(_unbindable(cluster, number, port, error.errno or 0)) from None


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
        f"They meet at {place}: no firewall may block it, and {PORT} sets another one, the same on all hosts.",
    ]
    if meeting.ignored:
        lines.append(f"Ignored: {', '.join(f'{count} {what}' for what, count in sorted(meeting.ignored.items()))}.")
    return " ".join(lines)

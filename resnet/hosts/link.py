"""A rank's socket: the chief's is bound, a worker's connects to it and connects again when the connection breaks.

Other programs may find the port. What they send is handed on as it is: `resnet.hosts.messages.read` sorts it out.
"""

from __future__ import annotations

from collections.abc import Iterator

import zmq
from zmq.utils.monitor import recv_monitor_message

from resnet.hosts.messages import MOST_BYTES

MOST_AT_ONCE = 1000  # messages: a stranger that floods the port must not keep the rank from anything else
CONNECT_MILLISECONDS = 5000  # of one attempt; it is repeated


class Link:
    """Made by one of the two class methods, then used by one thread."""

    def __init__(self, kind: int, has_routes: bool, address: str):
        self._has_routes = has_routes
        self._monitor: zmq.Socket | None = None  # tells when a connection begins and ends
        self._is_connected = False
        self._context = zmq.Context()
        self._socket = self._context.socket(kind)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)
        self._socket.setsockopt(zmq.IPV6, "[" in address)

    @classmethod
    def bound(cls, address: str) -> Link:
        """The chief's, at "tcp://number:port". Raises zmq.ZMQError."""
        link = cls(zmq.ROUTER, True, address)
        link._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # so that `send` knows whether the other is there
        try:
            link._socket.bind(address)
        except zmq.ZMQError:
            link.close(0)
            raise
        return link

    @classmethod
    def connected(cls, address: str) -> Link:
        """A worker's, to "tcp://name or number:port", whether anybody listens there yet or not."""
        link = cls(zmq.DEALER, False, address)
        link._socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_MILLISECONDS)
        # For the same purpose. ZMQ_IMMEDIATE would do it too, but drops what has arrived when the connection ends.
        link._monitor = link._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        link._socket.connect(address)
        return link

    def wait(self, seconds: float) -> None:
        """Until a message is there, or the time is over."""
        self._socket.poll(round(seconds * 1000))

    def receive(self) -> Iterator[tuple[bytes, bytes]]:
        """The messages that are there, each with the route to its sender (empty on the side of a worker)."""
        for _ in range(MOST_AT_ONCE):
            if not self._socket.poll(0):
                return
            *route, body = self._socket.recv_multipart()
            if len(route) == self._has_routes:
                yield b"".join(route), body
            else:
                yield b"", b""  # another protocol on ZeroMQ

    def send(self, route: bytes, body: bytes) -> bool:
        """Send a message; returns whether there is a connection for it."""
        if self._monitor:
            while self._monitor.poll(0):
                event = recv_monitor_message(self._monitor)["event"]
                self._is_connected = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            if not self._is_connected:
                return False
        try:
            self._socket.send_multipart([route, body] if self._has_routes else [body], zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True

    def close(self, linger: float) -> None:
        """Close it, after at most `linger` seconds for what is still to be sent."""
        waits = linger if self._has_routes or self._is_connected else 0  # without a connection, nothing can leave
        self._context.destroy(linger=round(waits * 1000))

"""A worker's side of a meeting: it knows the chief, and follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from resnet.errors import UserError
from resnet.hosts.cluster import Cluster
from resnet.hosts.connected import Connected, Peer
from resnet.hosts.link import Link
from resnet.hosts.meeting import Times
from resnet.hosts.messages import ChiefState, Envelope, FromChief, FromWorker, WorkerState


class Worker(Connected):
    """The meeting on all other ranks."""

    def __init__(self, cluster: Cluster, link: Link, on_end: Callable[[UserError], None], times: Times):
        self._chief = ChiefState()  # what it has said
        super().__init__(cluster, link, on_end, times)

    @property
    def reported(self) -> Mapping[int, Mapping[str, Any]]:
        return {self.cluster.rank: self._reports}

    def _hear(self, route: bytes, body: bytes) -> None:
        message = self._take_apart(route, body, FromChief)
        if message is None:
            return
        if message.session != self._session and self._answer is not None:
            self._ignore("messages for another meeting")
            return
        self._session, self._chief = message.session, message.state
        peer = self._peers.setdefault(0, Peer(message.process, message.token, route))
        peer.silence, peer.has_left = 0.0, message.state.has_left

    def _conclude(self) -> None:
        self._problem = self._chief.problem
        self._end = self._end or self._chief.end
        self._answer = self._chief.answer or self._answer
        self._is_pausing = self._is_pausing or self._chief.is_pausing
        self._last_turn = self._chief.last_turn if self._last_turn is None else self._last_turn

    def _refuse_version(self, route: bytes, envelope: Envelope) -> None:
        self._end = self._end or self._version_problem(envelope)

    def _missing(self) -> list[int]:
        """As the chief says, if this worker has heard from it."""
        return (self._chief.missing or [0]) if 0 in self._peers else [0]

    def _state(self) -> bytes:
        state = WorkerState(
            offer=self._offer,
            wants_stop=self._stop_requested,
            turns=self._begun if self._is_pausing and self._last_turn is None else None,
            reports=self._reports,
            failure=self._failure,
            has_left=self._is_leaving,
        )
        return FromWorker(state=state, **self._envelope()).model_dump_json().encode()

    def _send(self, message: bytes) -> None:
        is_reachable = self._link.send(b"", message)
        if 0 in self._peers:
            self._peers[0].is_reachable = is_reachable

    def _forget(self, rank: int) -> None:
        self._session, self._chief = "", ChiefState()
        del self._peers[rank]

    def _is_over(self) -> bool:
        return bool(self._end or self._failure or self._is_leaving)

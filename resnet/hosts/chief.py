"""The chief's side of a meeting: it knows all workers, and decides."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from resnet.errors import UserError
from resnet.hosts.cluster import Cluster
from resnet.hosts.connected import Connected, Peer
from resnet.hosts.facts import disagreement
from resnet.hosts.link import Link
from resnet.hosts.meeting import Times
from resnet.hosts.messages import Answer, ChiefState, Envelope, FromChief, FromWorker, Offer, WorkerState


class Chief(Connected):
    """The meeting on rank 0."""

    def __init__(self, cluster: Cluster, link: Link, on_end: Callable[[UserError], None], times: Times):
        self._states: dict[int, WorkerState] = {}  # what the workers have said, by rank
        self._unfit: set[str] = set()  # processes that have come to the roll call and cannot take part, by token
        self._refused: dict[bytes, str] = {}  # processes that cannot take part, by route, and why
        self._left_for = 0.0  # seconds since this rank began to leave
        super().__init__(cluster, link, on_end, times, session=secrets.token_hex(16))

    @property
    def reported(self) -> Mapping[int, Mapping[str, Any]]:
        with self._changed:
            return {0: self._reports} | {rank: state.reports for rank, state in self._states.items()}

    def _hear(self, route: bytes, body: bytes) -> None:
        message = self._take_apart(route, body, FromWorker)
        if message is None:
            return
        peer = self._peers.get(message.rank)
        if not 1 <= message.rank < self.cluster.hosts or message.session not in ("", self._session):
            self._ignore("messages for another meeting")
        elif peer is not None and peer.token == message.token:
            peer.route, peer.silence, peer.has_left = route, 0.0, message.state.has_left
            self._states[message.rank] = message.state
        elif self._answer is None and (peer is None or not self._link.send(peer.route, self._state())):
            self._peers[message.rank] = Peer(message.process[:80], message.token, route)
            self._states[message.rank] = message.state
        else:
            self._refuse_second(route, message, peer)

    def _refuse_second(self, route: bytes, message: FromWorker, peer: Peer | None) -> None:
        """A second process says that it is a rank that has come. During the roll call nobody knows which one is right;
        later on it is the first, and the second may not disturb it."""
        name = self.cluster.named(message.rank)
        first = peer.process if peer else "another process"
        if self._answer is None:
            self._problem = self._problem or (
                f"two processes say that they are {name}: {first} and {message.process[:80]}. Give each its own index, "
                "or end the one that is left from an earlier attempt"
            )
        self._ignore("messages of a second process for one rank")
        self._refused[route] = self._problem or f"the run has begun without this process: {name} is {first}"
        self._unfit.add(message.token)

    def _refuse_version(self, route: bytes, envelope: Envelope) -> None:
        self._problem = self._problem or self._version_problem(envelope)
        self._refused[route] = self._problem
        self._unfit.add(envelope.token)

    def _conclude(self) -> None:
        states = self._states
        self._end = self._end or next((state.failure for state in states.values() if state.failure), "")
        if self._problem and 1 + len(states) + len(self._unfit) >= self.cluster.hosts:
            self._end = self._end or self._problem
        self._answer_if_all_have_come()
        if self._stop_requested or any(state.wants_stop for state in states.values()):
            self._is_pausing = True
        if self._is_pausing and self._last_turn is None:
            staying = [state.turns for rank, state in states.items() if not self._peers[rank].has_left]
            answers = [turns for turns in staying if turns is not None]
            if len(answers) == len(staying):
                self._last_turn = max([self._begun, *answers])

    def _answer_if_all_have_come(self) -> None:
        if self._offer is None or self._has_answer(self._offer.number) or self._problem or self._missing():
            return
        if self._answer is None and self._forget_the_dead():
            return
        facts = {0: self._offer.facts} | {rank: offer.facts for rank, offer in self._offers().items()}
        self._end = self._end or disagreement(self.cluster, facts)
        if not self._end:
            self._answer = Answer(number=self._offer.number, value=self._offer.value)

    def _forget_the_dead(self) -> bool:
        """Before the roll call is over: whether processes that came have ended meanwhile."""
        state = self._state()
        dead = [rank for rank, peer in self._peers.items() if not self._link.send(peer.route, state)]
        for rank in dead:
            self._forget(rank)
        return bool(dead)

    def _offers(self) -> dict[int, Offer]:
        return {rank: state.offer for rank, state in self._states.items() if state.offer is not None}

    def _missing(self) -> list[int]:
        numbers = {rank: offer.number for rank, offer in self._offers().items()}
        if self._offer is not None:
            numbers[0] = self._offer.number
        furthest = max(numbers.values(), default=0)
        return [rank for rank in range(self.cluster.hosts) if numbers.get(rank, -1) < furthest]

    def _state(self) -> bytes:
        return self._message(
            ChiefState(
                answer=self._answer,
                missing=self._missing(),
                is_pausing=self._is_pausing,
                last_turn=self._last_turn,
                problem=self._problem,
                end=self._end or self._failure,
                has_left=self._is_leaving,
            )
        )

    def _message(self, state: ChiefState) -> bytes:
        return FromChief(state=state, **self._envelope()).model_dump_json().encode()

    def _send(self, message: bytes) -> None:
        for peer in self._peers.values():
            peer.is_reachable = self._link.send(peer.route, message)
        for route, why in self._refused.items():
            self._link.send(route, self._message(ChiefState(end=why)))
        self._refused.clear()

    def _forget(self, rank: int) -> None:
        del self._peers[rank], self._states[rank]

    def _is_over(self) -> bool:
        if self._end or self._failure:
            return True
        return self._is_leaving and (
            self._left_for > self._times.leave or all(p.has_left for p in self._peers.values())
        )

    def _watch(self, passed: float) -> None:
        super()._watch(passed)
        self._left_for += passed if self._is_leaving else 0.0

"""A rank's side of a meeting: the calls of its main thread, and the thread that talks to the others.

The two share the fields below under one lock. The thread does a round every POLL_SECONDS at least: it takes in what the
others say, draws conclusions, and sends this rank's state if that has changed, or as a sign of life.
"""

from __future__ import annotations

import logging
import os
import platform
import secrets
import threading
import time
import traceback
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from resnet.errors import Passing, UserError
from resnet.hosts.cluster import Cluster
from resnet.hosts.facts import Facts
from resnet.hosts.link import Link
from resnet.hosts.meeting import COLLECTIVE_SECONDS, Meeting, Times
from resnet.hosts.messages import (
    VERSION,
    Answer,
    Envelope,
    Message,
    Offer,
    OtherVersion,
    Stranger,
    plain,
    read,
    word_of,
)
from resnet.progress import time_text

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
LONGEST_ROUND = 0.5  # seconds that count: those that this process was stopped, or busy, are not the others' silence
FLUSH_SECONDS = 2.0  # for the last message


@dataclass
class Peer:
    """Another rank, as far as this one hears from it."""

    process: str  # which one it is, for people
    token: str  # which one it is
    route: bytes
    is_reachable: bool = True
    silence: float = 0.0  # seconds
    unreachable: float = 0.0  # seconds
    has_left: bool = False


class Connected(Meeting):
    """What chief and workers have in common."""

    def __init__(
        self, cluster: Cluster, link: Link, on_end: Callable[[UserError], None], times: Times, session: str = ""
    ):
        self.cluster, self._link, self._on_end, self._times = cluster, link, on_end, times
        self._session, self._word = session, word_of(cluster)
        self._process, self._token = f"process {os.getpid()} on {platform.node()}", secrets.token_hex(8)
        self._changed = threading.Condition()  # the lock, and how the thread wakes the main thread
        self._peers: dict[int, Peer] = {}
        self._ignored: dict[str, int] = {}  # messages, by what they were
        self._offer: Offer | None = None
        self._answer: Answer | None = None
        self._reports: dict[str, Any] = {}
        self._stop_requested = False
        self._begun, self._is_pausing = 0, False  # turns of this rank
        self._last_turn: int | None = None
        self._problem = ""  # why the roll call cannot succeed: it ends when all have come, so that all know
        self._end = ""  # why the meeting has ended, where another rank is the reason
        self._has_lost = False  # and has failed at nothing: it was lost
        self._failure = ""  # likewise, where this one is
        self._is_leaving = False
        self._is_waiting = False  # the main thread, in a call of the meeting
        self._main_knows = False  # so it raises the error
        self._closing = threading.Event()  # the main thread is done with the meeting
        self._thread = threading.Thread(target=self._serve, name="hosts", daemon=True)
        self._thread.start()

    # The calls of the main thread.

    def turn(self) -> bool:
        with self._changed:
            self._wait_for(lambda: not self._is_pausing or self._last_turn is not None)
            if self.is_at_end:
                return False
            self._begun += 1
            return True

    def request_stop(self) -> None:
        self._stop_requested = True

    @property
    def is_at_end(self) -> bool:
        return self._last_turn is not None and self._begun >= self._last_turn

    def come_together(self) -> None:
        self._come({}, None, None)

    def agree(self, facts: Facts, seconds: float = COLLECTIVE_SECONDS) -> None:
        self._come(facts, None, seconds)

    def from_chief(self, value: Any, seconds: float = COLLECTIVE_SECONDS) -> Any:
        return self._come({}, value if self.cluster.is_chief else None, seconds)

    def report(self, name: str, value: Any) -> None:
        with self._changed:
            self._reports = self._reports | {name: plain(value)}

    @property
    def ignored(self) -> Mapping[str, int]:
        """Messages that were not for this meeting: what they were, and how many."""
        return self._ignored

    def verdict(self, seconds: float) -> UserError | None:
        try:
            with self._changed:
                self._wait_for(lambda: False, seconds)
        except UserError as error:
            return error
        return None

    def fail(self, message: str) -> None:
        self._close(f"{self.cluster.named(self.cluster.rank)} failed: {plain(message)}")

    def leave(self) -> None:
        with self._changed:
            self._is_leaving = True
        self._close()

    def assemble(self, facts: Facts, seconds: float, advice: Callable[[], str]) -> None:
        """The roll call: wait for all ranks, and compare facts. Raises UserError, and closes the meeting."""
        try:
            self._come(facts, None, seconds, advice)
        except UserError:
            self._close()
            raise
        except BaseException:
            self.fail("it was interrupted")
            raise

    def _come(self, facts: Facts, value: Any, seconds: float | None, advice: Callable[[], str] = lambda: "") -> Any:
        """Come to the next point that all ranks come to; returns the chief's value. Without a limit of seconds, the
        agreement to stop ends the wait too."""
        with self._changed:
            number = self._offer.number + 1 if self._offer else 0
            self._offer = Offer(number=number, facts=plain(dict(facts)), value=plain(value))
            if seconds is None:
                self._wait_for_all(lambda: self._has_answer(number) or self.is_at_end)
            elif not self._wait_for(lambda: self._has_answer(number), seconds):
                self._failure = self._problem or self._late(number, seconds) + advice()
                raise UserError(self._failure)
            return self._answer.value if self._answer else None

    def _wait_for_all(self, have_come: Callable[[], bool]) -> None:
        """Wait without a limit. Every `Times.say` seconds, the chief says which hosts have not come."""
        since = time.monotonic()
        while not self._wait_for(have_come, self._times.say):
            if self.cluster.is_chief:
                waited = time_text(time.monotonic() - since)
                logger.warning("still waiting for %s, after %s", self._names(self._missing()), waited)

    def _has_answer(self, number: int) -> bool:
        return self._answer is not None and self._answer.number == number

    def _names(self, ranks: list[int]) -> str:
        return " and ".join(map(self.cluster.named, ranks))

    def _late(self, number: int, seconds: float) -> str:
        time_given, names = time_text(seconds), self._names(self._missing())
        if number == 0:
            return f"{names} did not come within {time_given}."
        return f"{names} did not come as far as the others within {time_given}: see the messages there."

    def _wait_for(self, is_done: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait, with the lock; returns whether it is done in this time. Raises UserError if the meeting ends."""
        self._is_waiting = True
        try:
            done = self._changed.wait_for(lambda: self._end or is_done(), seconds)
        finally:
            self._is_waiting = False
        if self._end:
            raise self._error()
        return bool(done)

    def _error(self) -> UserError:
        """Why the meeting has ended. A rank that is lost may be there again at the next attempt."""
        return Passing(self._end) if self._has_lost else UserError(self._end)

    def _close(self, failure: str = "") -> None:
        with self._changed:
            self._failure = self._failure or failure
        self._closing.set()
        self._thread.join()

    # The thread.

    def _serve(self) -> None:
        self._checked, self._since_beat, self._sent = time.monotonic(), 0.0, b""
        try:
            while not self._is_over():
                self._link.wait(POLL_SECONDS)
                with self._changed:
                    self._round()
                    self._main_knows = self._is_waiting
                    self._changed.notify_all()
        except Exception:
            with self._changed:
                self._end = f"the thread that talks to the other hosts failed:\n{traceback.format_exc()}"
                self._main_knows = self._is_waiting
                self._changed.notify_all()
        self._say_last()
        if self._end and not self._failure:
            is_closing = self._closing.wait(self._times.leave if self._main_knows else self._times.unwind)
            if not is_closing:  # the main thread is where nothing can reach it
                self._on_end(self._error())

    def _say_last(self) -> None:
        """Send what has changed since the last round, unless the other side has ended, and close the link."""
        is_heard = self.cluster.is_chief or not self._end
        if is_heard:
            with self._changed:
                self._send(self._state())
        self._link.close(FLUSH_SECONDS if is_heard else 0.0)

    def _round(self) -> None:
        now = time.monotonic()
        passed, self._checked = min(now - self._checked, LONGEST_ROUND), now
        for route, body in self._link.receive():
            self._hear(route, body)
        self._conclude()
        state = self._state()
        self._since_beat += passed
        if state != self._sent or self._since_beat >= self._times.beat:
            self._sent, self._since_beat = state, 0.0
            self._send(state)
        self._watch(passed)

    def _watch(self, passed: float) -> None:
        for rank, peer in list(self._peers.items()):
            peer.silence += passed
            peer.unreachable = 0.0 if peer.is_reachable else peer.unreachable + passed
            if peer.has_left:
                continue
            if peer.unreachable > self._times.gone:
                self._lose(rank, "its process has ended, or its machine cannot be reached")
            elif peer.silence > self._times.lost:
                self._lose(rank, f"nothing was heard from it for {time_text(self._times.lost)}")

    def _lose(self, rank: int, why: str) -> None:
        if self._answer is None:  # the roll call: another process may come in its place
            self._forget(rank)
        elif self._is_leaving:  # all work is done
            self._peers[rank].has_left = True
        else:
            self._has_lost = True
            self._end = (
                f"{self.cluster.named(rank)} was lost: {why}. Start all hosts again with the same command: "
                "it continues from the newest checkpoint."
            )

    def _take_apart(self, route: bytes, body: bytes, kind: type[Message]) -> Message | None:
        """A message for this meeting; others are counted, and one of another version ends the roll call."""
        try:
            return read(body, self._word, kind)
        except Stranger as stranger:
            self._ignore(str(stranger))
        except OtherVersion as other:
            self._ignore("messages of another version")
            if self._answer is None:
                self._refuse_version(route, other.envelope)
        return None

    def _version_problem(self, envelope: Envelope) -> str:
        return (
            f"{envelope.process[:80]} speaks version {envelope.version} of the messages between hosts, and "
            f"{self._process} version {VERSION}: install the same code on all hosts"
        )

    def _envelope(self) -> dict[str, Any]:
        """What all messages of this rank begin with."""
        return {
            "version": VERSION,
            "cluster": self._word,
            "session": self._session,
            "rank": self.cluster.rank,
            "process": self._process,
            "token": self._token,
        }

    def _ignore(self, what: str) -> None:
        self._ignored = self._ignored | {what: self._ignored.get(what, 0) + 1}

    @abstractmethod
    def _hear(self, route: bytes, body: bytes) -> None:
        """Take in what a socket has received."""

    @abstractmethod
    def _conclude(self) -> None:
        """Draw conclusions from what all ranks have said."""

    @abstractmethod
    def _state(self) -> bytes:
        """This rank's state, as a message."""

    @abstractmethod
    def _send(self, message: bytes) -> None:
        """Send it to whoever should know it."""

    @abstractmethod
    def _refuse_version(self, route: bytes, envelope: Envelope) -> None:
        """A rank of this cluster has another version of this code."""

    @abstractmethod
    def _missing(self) -> list[int]:
        """The ranks that have not come to where others wait for them."""

    @abstractmethod
    def _forget(self, rank: int) -> None:
        """Act as if the rank had not come."""

    @abstractmethod
    def _is_over(self) -> bool:
        """Whether this rank has said all that it had to say."""

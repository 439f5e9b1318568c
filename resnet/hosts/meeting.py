"""The open line between hosts that train together, on which they agree when to stop and learn that one is lost.

What it promises:
- all ranks stop after the same turn. A turn is something that they can only do together (a training step, a validation
  batch), and each begins one by `turn()`. Any rank may ask for the stop, at any time;
- where one is lost or fails, all others end with one message that names it. A killed process is seen within
  `Times.gone` seconds, and one that only says nothing, because its machine or the network is gone, within `Times.lost`;
- a rank that is stopped for less than that, or busy (tracing a graph, say), is not lost;
- what all ranks come to together has a time limit, but for `come_together`: a rank that hangs, on a disk that does not
  answer, say, and still gives signs of life is waited for.

How the stop is agreed on. A rank's main thread may be in the middle of turn n, which ends only when all others begin
it, so nobody may stop before n. Therefore the chief asks all ranks how many turns they have begun, and each answers
from a thread of its own; from then on `turn()` waits. The greatest answer is the last turn: whoever has begun fewer
goes on up to it, and then `turn()` is False everywhere.

How the end comes. Where the main thread waits in one of the calls below, the call raises UserError. Otherwise it may
wait in TensorFlow for ever, so `on_end(error)` is called from the thread; by default that shows the message and ends
the process.

The chief knows all workers, a worker only the chief: see `resnet.hosts.messages`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple

from resnet.errors import UserError
from resnet.hosts.cluster import ONE_HOST, Cluster
from resnet.hosts.facts import Facts

LOST_SECONDS = 20.0
COLLECTIVE_SECONDS = 600.0  # for all ranks to come to the same point, of which some may read large files before


class Times(NamedTuple):
    """How long what may take, in seconds."""

    beat: float = 1.0  # between two signs of life
    gone: float = 3.0  # without a connection, after which a process has ended
    lost: float = LOST_SECONDS  # without a sign of life
    leave: float = 10.0  # that the chief waits for the others at the end
    say: float = 300.0  # between two lines of the chief about whom it waits for
    unwind: float = 3.0  # for the main thread to end by an error of its own, before the process is ended


class Meeting(ABC):
    """What a rank can ask of the others: a context manager, which leaves at the end of the block, or fails.

    All calls come from the main thread. `cluster`: who takes part.
    """

    cluster: Cluster

    def __enter__(self) -> Meeting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or (isinstance(error, KeyboardInterrupt) and self.is_at_end):
            self.leave()
        elif isinstance(error, KeyboardInterrupt):
            self.fail("it was interrupted")
        else:
            self.fail(str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}")

    @abstractmethod
    def turn(self) -> bool:
        """Call it before each action that the ranks can only take together; False: they have agreed to stop before it.

        Raises UserError when the meeting has ended.
        """

    @abstractmethod
    def request_stop(self) -> None:
        """Have all ranks stop soon. It only sets something, so a signal handler may call it."""

    @property
    @abstractmethod
    def is_at_end(self) -> bool:
        """Whether this rank has had its last turn: `turn()` is False, and need not wait to say so."""

    @abstractmethod
    def come_together(self) -> None:
        """Wait for all ranks to come to this point, however long that takes, or until they agree to stop."""

    @abstractmethod
    def agree(self, facts: Facts, seconds: float = COLLECTIVE_SECONDS) -> None:
        """Compare facts once more; all ranks call it. Raises UserError on all of them where they differ."""

    @abstractmethod
    def from_chief(self, value: Any, seconds: float = COLLECTIVE_SECONDS) -> Any:
        """The chief's value, which JSON can express, on every rank; all call it. Raises UserError."""

    @abstractmethod
    def report(self, name: str, value: Any) -> None:
        """Let the chief know something that JSON can express, in place of what was reported under this name before."""

    @property
    @abstractmethod
    def reported(self) -> Mapping[int, Mapping[str, Any]]:
        """On the chief: what was reported, by rank and name. What a rank reported before a call that all ranks come to
        is there after it; what it reported before it left, after the chief has left."""

    @abstractmethod
    def verdict(self, seconds: float) -> UserError | None:
        """Wait whether a rank turns out to be lost or to have failed; returns the error, if so.

        For the main thread after an exception of TensorFlow, which may know it first.
        """

    @abstractmethod
    def fail(self, message: str) -> None:
        """This rank cannot go on: all others end with this message."""

    @abstractmethod
    def leave(self) -> None:
        """An orderly end. Ranks leave in any order; the chief waits a moment for the others."""


class Alone(Meeting):
    """The meeting of one host. It has no sockets and no thread, and costs nothing."""

    def __init__(self, cluster: Cluster = ONE_HOST) -> None:
        self.cluster = cluster
        self._stop_requested = False
        self._reported: dict[str, Any] = {}

    def turn(self) -> bool:
        return not self._stop_requested

    def request_stop(self) -> None:
        self._stop_requested = True

    @property
    def is_at_end(self) -> bool:
        return self._stop_requested

    def come_together(self) -> None:
        pass

    def agree(self, facts: Facts, seconds: float = COLLECTIVE_SECONDS) -> None:
        pass

    def from_chief(self, value: Any, seconds: float = COLLECTIVE_SECONDS) -> Any:
        return value

    def report(self, name: str, value: Any) -> None:
        self._reported[name] = value

    @property
    def reported(self) -> Mapping[int, Mapping[str, Any]]:
        return {0: self._reported}

    def verdict(self, seconds: float) -> UserError | None:
        return None

    def fail(self, message: str) -> None:
        pass

    def leave(self) -> None:
        pass

"""What hosts say to each other: JSON, checked field by field. Nothing that comes from the network is run or unpickled.

Each message has the whole state of its sender: it is sent when the state changes, and every second. So a message may be
lost, and the next one says the same. Chief and workers talk to each other, and workers not among themselves.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from resnet.hosts.cluster import Cluster

VERSION = 1  # of these messages: it grows when they change
MOST_BYTES = 16 << 20  # of a message: more is not read


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, ser_json_inf_nan="constants")


class Offer(_Part):
    """What a rank brings to a point that all come to. They are counted from 0: the roll call."""

    number: int
    facts: dict[str, str]
    value: JsonValue = None


class Answer(_Part):
    """What all ranks get at that point: they agree, and this is the chief's value."""

    number: int
    value: JsonValue = None


class WorkerState(_Part):
    """What the chief knows of a worker."""

    offer: Offer | None = None  # the newest
    wants_stop: bool = False
    turns: int | None = None  # that it has begun, once it begins no more by itself: see `resnet.hosts.meeting`
    reports: dict[str, JsonValue] = {}
    failure: str = ""  # why it cannot go on
    has_left: bool = False


class ChiefState(_Part):
    """What the workers know of the chief."""

    answer: Answer | None = None  # the newest
    missing: list[int] = []  # ranks that have not come to where others wait for them
    is_pausing: bool = False  # nobody begins a turn by itself any more
    last_turn: int | None = None
    problem: str = ""  # why the roll call cannot succeed
    end: str = ""  # why everybody must end
    has_left: bool = False


class Envelope(BaseModel):
    """What messages of all versions have in common."""

    model_config = ConfigDict(strict=True, frozen=True)

    version: int
    cluster: str  # `word_of` the sender's
    session: str  # drawn by the chief of a meeting; "" from a worker that has not heard from it
    rank: int
    process: str  # which one the sender is, for people
    token: str  # likewise, for sure: a process that is started again may have the same number and name


class FromWorker(Envelope):
    state: WorkerState


class FromChief(Envelope):
    state: ChiefState


Message = TypeVar("Message", FromWorker, FromChief)


class Stranger(Exception):
    """A message that is not for this meeting."""


class OtherVersion(Exception):
    """A message of another version of this code."""

    def __init__(self, envelope: Envelope):
        super().__init__()
        self.envelope = envelope


def word_of(cluster: Cluster) -> str:
    """What tells a cluster's messages from another's: made from the addresses. It keeps out mistakes, not attackers."""
    return hashlib.sha256("\n".join(cluster.addresses).encode()).hexdigest()[:16]


def read(body: bytes, word: str, kind: type[Message]) -> Message:
    """A message of this cluster. Raises Stranger, or OtherVersion."""
    try:
        envelope = Envelope.model_validate_json(body)
        if envelope.cluster != word:
            raise Stranger("messages for another cluster")
        if envelope.version != VERSION:
            raise OtherVersion(envelope)
        return kind.model_validate_json(body)
    except ValidationError:
        raise Stranger("bytes that are no message of ours") from None


def plain(value: Any) -> Any:
    """A JSON value as it will arrive. Bytes of file names that are not UTF-8 become question marks."""
    return json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))

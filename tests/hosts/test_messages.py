"""What is taken from the network, and what is not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet.hosts.cluster import Cluster
from resnet.hosts.messages import VERSION, FromChief, FromWorker, OtherVersion, Stranger, plain, read, word_of

WORD = word_of(Cluster(("a:1", "b:2"), 0))


def message(**changes) -> dict:
    sender = {"version": VERSION, "cluster": WORD, "session": "", "rank": 1, "process": "process 1", "token": "t"}
    return sender | {"state": {"offer": {"number": 0, "facts": {"code": "x"}}}} | changes


def taken(content: dict) -> FromWorker:
    return read(json.dumps(content).encode(), WORD, FromWorker)


def test_a_message_arrives_as_it_was_sent():
    sent = taken(message(state={"reports": {"corrupt": ["é", None, 1.5, {"a": True}]}, "turns": 3}))
    assert read(sent.model_dump_json().encode(), WORD, FromWorker) == sent
    assert sent.state.reports["corrupt"] == ["é", None, 1.5, {"a": True}]


@given(st.binary())
def test_no_bytes_are_taken_for_a_message(body):
    for kind in (FromWorker, FromChief):
        with pytest.raises(Stranger):
            read(body, WORD, kind)


@pytest.mark.parametrize(
    "changes",
    [
        {"cluster": word_of(Cluster(("b:2", "a:1"), 0))},
        {"cluster": None},
        {"rank": "1"},
        {"rank": True},
        {"version": "1"},
        {"state": None},
        {"state": {"turns": 1.5}},
        {"state": {"offer": {"number": 0, "facts": {"code": 1}}}},
        {"state": {"offer": {"number": 0}}},
        {"state": {"reports": []}},
        {"state": {"wants_stop": 1}},
    ],
)
def test_a_message_with_a_wrong_field_is_a_strangers(changes):
    with pytest.raises(Stranger):
        taken(message(**changes))


def test_deep_nesting_is_no_message():
    body = json.dumps(message()).replace('"x"', "[" * 100_000 + "]" * 100_000)
    with pytest.raises(Stranger):
        read(body.encode(), WORD, FromWorker)


def test_another_version_is_known_as_such_whatever_else_it_says():
    with pytest.raises(OtherVersion) as other:
        taken(message(version=VERSION + 1, state="in another form", more=1))
    assert other.value.envelope.process == "process 1"


def test_a_file_name_that_is_not_utf_8_arrives_with_question_marks():
    assert plain({"file": b"caf\xe9.jpg".decode(errors="surrogateescape")}) == {"file": "caf?.jpg"}


def test_what_json_cannot_express_is_a_mistake_of_the_caller():
    with pytest.raises(TypeError):
        plain({1, 2})

"""The records that a run has found corrupt, on whichever host."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from resnet.errors import UserError
from resnet.hosts.cluster import Cluster
from resnet.hosts.meeting import Alone
from resnet.training.corrupt_records import REPORT, CorruptRecords


class FakeLoader:
    """Finds a corrupt record before some of its batches."""

    def __init__(self, *found: str, known: tuple[str, ...] = ()):
        self.corrupt, self._found = list(known), found

    def __iter__(self):
        for name in self._found:
            self.corrupt += [name] if name else []
            yield SimpleNamespace(found=name)


class FakeMeeting(Alone):
    """Of two hosts, the other of which has reported something."""

    def __init__(self, *others: str):
        super().__init__(Cluster(("a:1", "b:1"), 0))
        self._others = list(others)

    @property
    def reported(self):
        return {0: self._reported, 1: {REPORT: self._others}}


def test_the_batches_pass_and_what_is_found_in_them_is_reported():
    meeting = Alone()
    records = CorruptRecords(FakeLoader("", "x", "", known=("old",)), meeting, most=5)
    assert [batch.found for batch in records.reported()] == ["", "x", ""]
    assert meeting.reported == {0: {REPORT: ["old", "x"]}}
    assert list(records) == ["old", "x"]


def test_where_nothing_is_found_nothing_is_reported():
    meeting = Alone()
    list(CorruptRecords(FakeLoader("", ""), meeting, most=0).reported())
    assert meeting.reported == {0: {}}


def test_the_chief_knows_those_of_all_hosts_each_once():
    assert list(CorruptRecords(FakeLoader(known=("old", "mine")), FakeMeeting("old", "theirs"), 9)) == [
        "old",
        "mine",
        "theirs",
    ]


def test_too_many_on_all_hosts_together_end_the_training():
    records = CorruptRecords(FakeLoader("mine", ""), FakeMeeting("theirs"), most=1)
    with pytest.raises(UserError, match=r"2 records are corrupt, on all hosts together, the last one theirs"):
        list(records.reported())

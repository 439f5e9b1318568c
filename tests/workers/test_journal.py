"""What workers note, and their owner reads."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet.workers.journal import HEAD, ROW, Journal


@pytest.fixture
def pair():
    """The journal as its owner and as a worker see it."""
    owner = Journal.of(3)
    worker = Journal(os.dup(owner.descriptor))
    yield owner, worker
    worker.close()
    owner.close()


def test_the_owner_reads_the_last_note_of_each_row_and_how_many_there_were(pair):
    owner, worker = pair
    for row, notes in enumerate((["cat/5.jpg", "a longer note than the next", "dog/1.jpg"], [], ["one"])):
        for note in notes:
            worker.write(row, note)
    assert [owner.last(row) for row in range(3)] == ["dog/1.jpg", "", "one"]
    assert [owner.count(row) for row in range(3)] == [3, 0, 1]


@given(notes=st.lists(st.tuples(st.integers(0, 2), st.text(max_size=2 * ROW)), max_size=5))
def test_any_note_is_read_as_written_or_its_end_and_no_other_row_changes(notes):
    journal, expected = Journal.of(3), ["", "", ""]
    for row, note in notes:
        journal.write(row, note)
        expected[row] = note
        for i in range(3):
            whole = expected[i].encode(errors="backslashreplace")
            assert journal.last(i) == whole[-(ROW - HEAD.size) :].decode(errors="replace")
    journal.close()


def test_a_file_name_that_is_not_utf_8_is_noted_with_escapes(pair):
    owner, worker = pair
    worker.write(0, os.fsdecode(b"caf\xe9.jpg"))
    assert owner.last(0) == "caf\\udce9.jpg"

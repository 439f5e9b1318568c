"""Conversion in parts, as several hosts do it."""

from __future__ import annotations

import pytest
from conversions import SHARDS, convert, data_files, stage_json, why_incomplete

from resnet.errors import LockedElsewhere, UserError
from resnet.locks import locked
from resnet.run import Run
from resnet.stages import ledger_of, run_part


@pytest.fixture
def in_parts(photographs, run_on, tmp_path) -> Run:
    return run_on(photographs, tmp_path / "artifacts", "records.parts=3")


def is_done(run: Run, part: int) -> bool:
    return ledger_of(run).part_is_done(part)


def test_all_parts_together_write_the_same_shards_as_a_conversion_without_parts(in_parts, converted):
    expected: set[str] = set()
    for part in (2, 0, 1):
        assert not is_done(in_parts, part)
        run_part(in_parts, part)
        assert is_done(in_parts, part)
        expected |= set(SHARDS[part::3])
        assert {name for name in SHARDS if (in_parts.records / name).exists()} == expected
    assert why_incomplete(in_parts) == "its parts are done; they are not combined yet"
    written = {name: (in_parts.records / name).stat().st_mtime_ns for name in SHARDS}
    convert(in_parts)
    assert {name: (in_parts.records / name).stat().st_mtime_ns for name in SHARDS} == written
    assert data_files(in_parts.records) == data_files(converted.records)
    assert stage_json(in_parts)["digest"] == stage_json(converted)["digest"]


def test_parts_do_not_wait_for_each_other_but_the_stage_waits_for_them(in_parts):
    run_part(in_parts, 0)
    with locked(in_parts.records, shared=True):  # another host works on its part
        run_part(in_parts, 1)
        assert is_done(in_parts, 1)
        with pytest.raises(LockedElsewhere), locked(in_parts.records):
            pass


def test_the_stage_writes_the_shards_of_parts_that_did_not_run(in_parts, converted):
    run_part(in_parts, 1)
    convert(in_parts)
    assert data_files(in_parts.records) == data_files(converted.records)


def test_parts_of_other_settings_do_not_count_as_done(in_parts, photographs, run_on):
    run_part(in_parts, 0)
    other = run_on(photographs, in_parts.artifacts, "records.parts=3", "records.seed=5")
    assert not is_done(other, 0)
    run_part(other, 0)
    assert is_done(other, 0)
    assert list((in_parts.artifacts / "trash").iterdir())


def test_a_part_that_does_not_exist_is_refused(in_parts):
    with pytest.raises(UserError, match=r"records.parts is 3, and parts are counted from 0"):
        run_part(in_parts, 3)

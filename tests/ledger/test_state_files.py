"""stage.json and begun.json: read as they were written, or not at all."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import begin

from resnet.checked_json import Corrupt
from resnet.errors import UserError
from resnet.ledger.state_files import content_digest, read_state, write_state
from resnet.stage_table import STAGES

CONTENT = {"stage": "train", "version": 1, "settings": {"training": {"epochs": 40}}, "inputs": {"convert": "ab"}}


def test_a_state_file_is_read_as_it_was_written(tmp_path):
    write_state(tmp_path / "stage.json", CONTENT)
    assert read_state(tmp_path / "stage.json") == CONTENT


def test_a_file_that_is_missing_means_not_done(tmp_path):
    assert read_state(tmp_path / "stage.json") is None


@given(position=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_one_other_byte_is_an_error_or_changes_nothing(tmp_path_factory, position, change):
    path = tmp_path_factory.mktemp("state") / "begun.json"
    write_state(path, CONTENT)
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= change
    path.write_bytes(content)
    try:
        found = read_state(path)
    except Corrupt:
        return
    assert {key: value for key, value in found.items() if key in CONTENT} == CONTENT


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[]", b"\xff\xfe", b'"done"', b"{}", b'{"version": 1}', b'{"outputs": 3}']
)
@pytest.mark.parametrize("stage", ["convert", "evaluate"])
def test_a_stage_json_that_is_there_and_cannot_be_read_is_an_error_that_names_it(finished, content, stage):
    path = finished.run.stage_folder(stage) / "stage.json"
    path.write_bytes(content)
    for name in STAGES:
        if name == stage or stage in STAGES[name].inputs:
            with pytest.raises(UserError) as caught:
                finished.why_incomplete(name)
            assert str(path) in str(caught.value)
            assert "or delete it: the stage is then finished again" in str(caught.value)


def test_a_half_begun_json_is_an_error_that_names_it_and_nothing_is_lost(ledger_for, tmp_path):
    ledger = ledger_for()
    folder = begin(ledger, "train").folder
    (folder / "checkpoint").write_bytes(b"weights")
    whole = (folder / "begun.json").read_bytes()
    for length in range(0, len(whole) - 2, 25):
        (folder / "begun.json").write_bytes(whole[:length])
        with pytest.raises(UserError, match="--discard"):
            begin(ledger, "train")
    assert (folder / "checkpoint").exists()
    assert not (tmp_path / "artifacts" / "trash").exists()


def test_the_results_beside_a_corrupt_begun_json_can_be_discarded(ledger_for, tmp_path):
    folder = begin(ledger_for(), "train").folder
    (folder / "checkpoint").write_bytes(b"weights")
    (folder / "begun.json").write_bytes(b"{")
    begin(ledger_for(discard=["train"]), "train")
    (kept,) = (tmp_path / "artifacts" / "trash").iterdir()
    assert (kept / "checkpoint").read_bytes() == b"weights"


def test_the_state_files_of_earlier_versions_are_read_and_their_digest_checked(tmp_path):
    outputs = {"weights": {"size": 3, "sha256": "cd"}, "log": {"size": 5, "sha256": "ef", "byproduct": True}}
    covered = CONTENT | {"outputs": {"weights": "cd"}}
    digest = hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()
    former = CONTENT | {"outputs": outputs, "digest": digest}
    (tmp_path / "stage.json").write_text(json.dumps(former))
    assert read_state(tmp_path / "stage.json") == former
    former["settings"] = {"training": {"epochs": 41}}
    (tmp_path / "stage.json").write_text(json.dumps(former))
    with pytest.raises(Corrupt, match="its digest does not match"):
        read_state(tmp_path / "stage.json")


def test_a_digest_covers_the_outputs_and_not_the_byproducts():
    output, log = {"weights": {"sha256": "cd"}}, {"log": {"sha256": "ef", "byproduct": True}}
    assert content_digest(output) == content_digest(output | log)
    assert content_digest(output) != content_digest({"weights": {"sha256": "ce"}})

"""The trash: what it lists, restores and deletes, and what it never touches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ledgers import finish

from resnet.checked_json import write_json
from resnet.errors import LockedElsewhere, UserError
from resnet.ledger import Ledger
from resnet.ledger.clearing import clear, set_aside
from resnet.ledger.displacing import LABEL, STALE
from resnet.locks import locked
from resnet.stage_table import STAGES
from resnet.trash import delete, named, read_trash, restore


@pytest.fixture
def cleared(finished) -> Ledger:
    """A run whose Evaluate has moved to the trash; its report is stale."""
    clear(finished, "evaluate", only=True)
    return finished


def resnet(*arguments: str | Path, answer: str = "") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "resnet", "trash", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, input=answer)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_an_empty_trash_is_empty(tmp_path):
    assert read_trash(tmp_path) == []


def test_what_is_in_the_trash_has_a_name_an_origin_a_reason_and_a_size(cleared):
    (one,) = read_trash(cleared.run.artifacts)
    assert one.name.endswith("-digits-evaluate")
    assert (str(one.origin), one.stage, one.why) == ("runs/digits/evaluate", "evaluate", "it is run again")
    assert one.size == sum(path.stat().st_size for path in one.folder.rglob("*") if path.is_file())


def test_what_is_restored_is_as_it_was_and_nothing_is_stale_any_more(finished):
    before = contents(finished.run.artifacts)
    clear(finished, "evaluate", only=True)
    (one,) = read_trash(finished.run.artifacts)
    assert restore(finished.run.artifacts, one) == finished.run.stage_folder("evaluate")
    assert contents(finished.run.artifacts) == before
    assert read_trash(finished.run.artifacts) == []
    assert not any(finished.why_incomplete(stage) for stage in STAGES)


def test_records_are_restored_too(finished):
    before = contents(finished.run.records)
    clear(finished, "convert", only=True)
    assert (finished.run.stage_folder("train") / STALE).exists()
    (one,) = read_trash(finished.run.artifacts)
    restore(finished.run.artifacts, one)
    assert contents(finished.run.records) == before
    assert not list(finished.run.folder.rglob(STALE))


def test_other_results_stay_in_their_place_unless_they_are_to_be_swapped(cleared):
    finish(cleared, "evaluate", content="other")
    (one,) = read_trash(cleared.run.artifacts)
    with pytest.raises(UserError, match=r"evaluate has other results now .* with --swap, they move to the trash"):
        restore(cleared.run.artifacts, one)
    assert read_trash(cleared.run.artifacts) == [one]
    restore(cleared.run.artifacts, one, swap=True)
    assert (cleared.run.stage_folder("evaluate") / "deep" / "output.bin").read_text() == "result"
    (other,) = read_trash(cleared.run.artifacts)
    assert (other.folder / "deep" / "output.bin").read_text() == "other"
    assert not (cleared.run.stage_folder("report") / STALE).exists()


def test_nothing_is_restored_while_luigi_is_at_work_on_the_run(cleared):
    (one,) = read_trash(cleared.run.artifacts)
    with locked(cleared.run.folder), pytest.raises(LockedElsewhere):
        restore(cleared.run.artifacts, one)
    assert read_trash(cleared.run.artifacts) == [one]


def test_where_only_some_files_come_back_the_others_stay_in_their_place(finished):
    folder = finished.run.stage_folder("evaluate")
    set_aside(finished, "evaluate", [folder / "deep" / "output.bin"], "corrupt")
    (folder / "deep" / "output.bin").write_text("made again")
    (one,) = read_trash(finished.run.artifacts)
    restore(finished.run.artifacts, one, swap=True)
    assert (folder / "deep" / "output.bin").read_text() == "result"
    assert (folder / "begun.json").exists()
    (other,) = read_trash(finished.run.artifacts)
    assert [path.name for path in other.folder.rglob("*.bin")] == ["output.bin"]


def test_of_several_results_of_a_stage_the_command_restores_the_newest(cleared):
    finish(cleared, "evaluate", content="newer")
    clear(cleared, "evaluate", only=True)
    assert resnet("restore", "digits", "--artifacts", cleared.run.artifacts).stdout.count("restored ") == 1
    assert (cleared.run.stage_folder("evaluate") / "deep" / "output.bin").read_text() == "newer"
    assert len(read_trash(cleared.run.artifacts)) == 1


def test_all_folders_that_are_named_are_restored(finished):
    folder = finished.run.stage_folder("evaluate")
    (folder / "deep" / "more.bin").write_text("more")
    for name in ("output.bin", "more.bin"):
        set_aside(finished, "evaluate", [folder / "deep" / name], "corrupt")
    names = [one.name for one in read_trash(finished.run.artifacts)]
    assert resnet("restore", *names, "--artifacts", finished.run.artifacts).stdout.count("restored ") == 2
    assert {path.name for path in (folder / "deep").iterdir()} == {"output.bin", "more.bin"}


def test_records_whose_name_begins_with_an_underscore_are_restored(finished):
    records = finished.run.records.rename(finished.run.records.with_name("_photos"))
    trashed = finished.run.artifacts / "trash" / "one"
    trashed.mkdir(parents=True)
    write_json(trashed / LABEL, {"stage": "convert", "run": "digits", "folder": "records/_photos", "why": ""})
    (trashed / "train-00000-of-00001").write_text("a shard")
    (one,) = read_trash(finished.run.artifacts)
    restore(finished.run.artifacts, one)
    assert (records / "train-00000-of-00001").read_text() == "a shard"


def test_records_in_the_way_are_to_be_moved_by_hand_also_where_they_should_be_swapped(finished):
    clear(finished, "convert", only=True)
    finish(finished, "convert", content="other")
    (one,) = read_trash(finished.run.artifacts)
    for swap in (False, True):
        with pytest.raises(UserError, match=r"has other results now .*: move them away by hand\.$"):
            restore(finished.run.artifacts, one, swap=swap)


def test_of_a_run_nothing_is_restored_unless_all_of_it_can_be(finished):
    for stage in ("evaluate", "report"):
        clear(finished, stage, only=True)
    finish(finished, "report", content="other")
    before = contents(finished.run.artifacts)
    assert "report has other results now" in resnet("restore", "digits", "--artifacts", finished.run.artifacts).stderr
    assert contents(finished.run.artifacts) == before


def test_of_a_run_neither_records_of_its_name_nor_corrupt_files_are_restored(cleared):
    shard = next(path for path in cleared.run.records.rglob("*") if path.is_file() and path.name != ".lock")
    set_aside(cleared, "convert", [shard], "corrupt")
    restored = resnet("restore", "digits", "--artifacts", cleared.run.artifacts)
    assert restored.stdout == f"restored {cleared.run.stage_folder('evaluate')}\n"
    (shards,) = read_trash(cleared.run.artifacts)
    assert shards.why == "corrupt"
    refused = resnet("restore", "digits", "--artifacts", cleared.run.artifacts)
    assert "of 'digits', the trash has corrupt files only: give the name of their folder there." in refused.stderr
    assert resnet("restore", shards.name, "--artifacts", cleared.run.artifacts).returncode == 0


def test_results_of_other_settings_than_the_runs_are_restored_and_that_is_said(cleared, ledger_for):
    ledger_for("training.learning_rate=0.7").run.store()
    clear(cleared, "train", only=True)
    restored = resnet("restore", "digits", "--artifacts", cleared.run.artifacts)
    assert "The run has other settings now (training.learning_rate was 0.1, now 0.7)." in restored.stdout


def test_a_folder_of_an_earlier_version_is_listed_and_not_restored(cleared):
    (one,) = read_trash(cleared.run.artifacts)
    (one.folder / LABEL).unlink()
    (one,) = read_trash(cleared.run.artifacts)
    assert one.origin is None
    with pytest.raises(UserError, match="nothing says where"):
        restore(cleared.run.artifacts, one)


HOSTILE = [
    "../../outside",
    "/etc",
    "runs/../../outside/train",
    "runs/a/nonsense",
    "",
    "trash/a",
    "runs/../train",
    "records/..",
]


@pytest.mark.parametrize("origin", HOSTILE)
def test_a_hostile_label_restores_nothing(origin, cleared):
    (one,) = read_trash(cleared.run.artifacts)
    write_json(one.folder / LABEL, {"stage": "evaluate", "run": "digits", "folder": origin, "why": ""})
    (one,) = read_trash(cleared.run.artifacts)
    with pytest.raises(UserError, match="nothing says where"):
        restore(cleared.run.artifacts, one)


def test_nothing_is_restored_through_a_link_out_of_the_artifacts(cleared, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = cleared.run.stage_folder("evaluate")
    (folder / ".lock").unlink()
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir()
    folder.rmdir()
    folder.symlink_to(outside)
    (one,) = read_trash(cleared.run.artifacts)
    with pytest.raises(UserError, match="is a link, and nothing is moved through links"):
        restore(cleared.run.artifacts, one)
    assert list(outside.iterdir()) == []


def test_nothing_is_restored_through_a_link_within_the_folder(finished, tmp_path):
    folder = finished.run.stage_folder("evaluate")
    set_aside(finished, "evaluate", [folder / "deep" / "output.bin"], "corrupt")
    (folder / "deep").rmdir()
    (tmp_path / "outside").mkdir()
    (folder / "deep").symlink_to(tmp_path / "outside")
    (one,) = read_trash(finished.run.artifacts)
    with pytest.raises(UserError, match="is a link, and nothing is moved through links"):
        restore(finished.run.artifacts, one)
    assert list((tmp_path / "outside").iterdir()) == []


def test_deleting_follows_no_link(cleared, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.txt").write_text("all that I have")
    (outside / "large.bin").write_bytes(bytes(100_000))
    (one,) = read_trash(cleared.run.artifacts)
    (one.folder / "link").symlink_to(outside)
    (one.folder / "large").symlink_to(outside / "large.bin")
    (cleared.run.artifacts / "trash" / "a-link").symlink_to(outside)
    for each in read_trash(cleared.run.artifacts):
        assert each.size < 10_000
        delete(each)
    assert list((cleared.run.artifacts / "trash").iterdir()) == []
    assert (outside / "precious.txt").exists()


def test_a_trash_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "trash").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a link, and links are not followed"):
        read_trash(tmp_path)


def test_names_are_those_of_folders_or_of_runs(cleared):
    clear(cleared, "report", only=True)
    trash = read_trash(cleared.run.artifacts)
    assert named(trash, ["digits"]) == trash
    assert named(trash, [trash[0].name]) == trash[:1]
    for name in ("digit", "runs", "evaluate"):  # not of all runs at once
        with pytest.raises(UserError, match=f"the trash has no '{name}'"):
            named(trash, [name])


def test_the_command_lists_with_sizes_and_reasons(cleared):
    listed = resnet("--artifacts", cleared.run.artifacts)
    assert listed.returncode == 0
    assert "0.0 MB  " in listed.stdout
    assert "runs/digits/evaluate (it is run again)" in listed.stdout


def test_a_name_with_control_characters_is_shown_as_escapes(tmp_path):
    (tmp_path / "trash" / "\x1b[31mred").mkdir(parents=True)
    assert "\x1b" not in resnet("--artifacts", tmp_path).stdout


def test_the_command_deletes_nothing_without_a_yes(cleared):
    asked = resnet("empty", "--artifacts", cleared.run.artifacts)
    assert asked.returncode == 1
    assert "would delete 1 folder, 0.0 MB for good: say so with --yes" in asked.stderr
    assert len(read_trash(cleared.run.artifacts)) == 1
    assert resnet("empty", "--yes", "--artifacts", cleared.run.artifacts).stdout == "deleted 1 folder, 0.0 MB\n"
    assert read_trash(cleared.run.artifacts) == []


def test_on_a_terminal_the_command_asks(cleared):
    command = [sys.executable, "-m", "resnet", "trash", "empty", "--artifacts", str(cleared.run.artifacts)]
    for answer, left in ((b"n\n", 1), (b"y\n", 0)):
        terminal, other_end = os.openpty()
        process = subprocess.Popen(command, stdin=other_end, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        os.write(terminal, answer)
        said, _ = process.communicate(timeout=60)
        os.close(terminal)
        os.close(other_end)
        assert b"Delete 1 folder, 0.0 MB for good? [y/N]" in said
        assert len(read_trash(cleared.run.artifacts)) == left


def test_the_command_restores_by_the_name_of_the_run(cleared):
    restored = resnet("restore", "digits", "--artifacts", cleared.run.artifacts)
    assert restored.stdout == f"restored {cleared.run.stage_folder('evaluate')}\n"
    assert not cleared.why_incomplete("report")


def test_the_command_restores_nothing_without_a_name(cleared):
    assert "give the NAME of what to restore" in resnet("restore", "--artifacts", cleared.run.artifacts).stderr

"""What verify finds, what it says of it, and what it leaves alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from resnet.ledger.state_files import read_state
from resnet.run import Machine, Run
from resnet.stages import run_stage
from resnet.weights.tensor_files import write_tensors


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> Path:
    """The artifacts of a run whose digits are converted, with a checkpoint. Not to be changed."""
    artifacts = tmp_path_factory.mktemp("converted") / "artifacts"
    run = Run.of("digits", artifacts=artifacts, name="mine", machine=Machine(workers=1))
    run_stage("convert", run)
    checkpoints = run.stage_folder("train") / "checkpoints"
    checkpoints.mkdir(parents=True)
    write_tensors(checkpoints / "step-00000010.safetensors", {"weights": np.arange(1000.0)}, {"step": 10})
    return artifacts


@pytest.fixture
def artifacts(converted, tmp_path) -> Path:
    return Path(shutil.copytree(converted, tmp_path / "artifacts"))


@pytest.fixture
def finished_artifacts(finished) -> Path:
    """A run whose stages have small made artifacts."""
    return finished.run.artifacts


def verify(artifacts: Path, *arguments: str) -> tuple[int, dict]:
    command = [sys.executable, "-m", "resnet", "verify", "--artifacts", str(artifacts), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def flip(path: Path, at: int = -40) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_everything_that_is_as_it_was_written_is_sound(artifacts):
    before = contents(artifacts)
    code, answer = verify(artifacts)
    assert code == 0
    assert answer["corrupt"] == answer["stale"] == answer["changed"] == []
    assert answer["checked"] == 3 * 5 + 1 + 3 + 1  # shards with index and summary, classes, lists, a checkpoint
    assert contents(artifacts) == before


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("records/digits/train-00001-of-00004", "its checksum does not match (record "),
        ("records/digits/index/train-00002-of-00004.npy", "its SHA-256 is not that of what was written"),
        ("records/digits/index/train-00002-of-00004.json", "its checksum does not match"),
        ("records/digits/classes.txt", "its SHA-256 is not that of what was written"),
        ("records/digits/stage.json", "its checksum does not match"),
        ("records/digits/begun.json", "its checksum does not match"),
        ("runs/mine/train/checkpoints/step-00000010.safetensors", "its SHA-256 does not match"),
        ("runs/mine/recipe.toml", "it differs from what the run stored"),
    ],
)
def test_a_changed_bit_is_found_and_its_file_named_with_what_mends_it(name, why, artifacts):
    flip(artifacts / name)
    code, answer = verify(artifacts)
    assert code == 1
    (one,) = answer["corrupt"]
    assert one["file"] == str(artifacts / name)
    assert why in one["why"]
    assert name not in one["why"]  # which is said before it
    assert one["mend"]


@pytest.mark.parametrize("change", ["cut short", "missing", "a whole record less"])
def test_a_shard_that_lacks_something_is_found(change, artifacts):
    path = artifacts / "records/digits/train-00001-of-00004"
    content, index = path.read_bytes(), np.load(artifacts / "records/digits/index/train-00001-of-00004.npy")
    if change == "missing":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) - (5 if change == "cut short" else int(index["length"][-1]))])
    whys = {"cut short": "it is truncated", "missing": "it is missing", "a whole record less": "its records are whole"}
    assert whys[change] in verify(artifacts)[1]["corrupt"][0]["why"]


def test_mending_makes_the_corrupt_shard_again_and_no_other(artifacts):
    before, records = contents(artifacts / "records"), artifacts / "records" / "digits"
    times = {path: path.stat().st_mtime_ns for path in records.glob("*-of-*")}
    flip(records / "train-00001-of-00004")
    flip(records / "index" / "validation-00000-of-00001.npy")
    code, answer = verify(artifacts, "--mend")
    assert (code, answer["corrupt"]) == (0, [])
    changed = ("stage.json", "begun.json", "log-1.txt", "log-2.txt")
    assert {name: text for name, text in contents(artifacts / "records").items() if not name.endswith(changed)} == {
        name: text for name, text in before.items() if not name.endswith(changed)
    }
    written = {path.name for path in records.glob("*-of-*") if path.stat().st_mtime_ns != times[path]}
    assert written == {"train-00001-of-00004", "validation-00000-of-00001"}
    assert len(list((artifacts / "trash").rglob("train-00001-of-00004"))) == 1


def test_mending_leaves_what_only_its_stage_can_make_and_says_how(finished_artifacts):
    path = finished_artifacts / "runs/digits/train/deep/output.bin"
    flip(path, at=0)
    code, answer = verify(finished_artifacts, "--run", "digits", "--mend")
    assert code == 1
    assert answer["corrupt"][0]["mend"].startswith(f"rm {path} && luigi --module pipeline Train --local-scheduler")


def test_a_result_of_other_results_than_those_that_are_there_is_stale(finished_artifacts):
    train = finished_artifacts / "runs/digits/train"
    record = read_state(train / "stage.json")
    (train / "stage.json").write_text(json.dumps(record | {"inputs": {"convert": "0" * 64}}))
    code, answer = verify(finished_artifacts)
    assert code == 1
    (one,) = answer["stale"]
    assert (one["file"], one["why"]) == (str(train / "stage.json"), "stale: convert has changed since")


def test_a_log_that_somebody_changed_is_said_and_nothing_depends_on_it(finished_artifacts):
    (finished_artifacts / "runs/digits/train/log.txt").write_text("took 4 s")
    code, answer = verify(finished_artifacts)
    assert code == 0
    assert [one["file"] for one in answer["changed"]] == [str(finished_artifacts / "runs/digits/train/log.txt")]


def test_a_byproduct_that_is_lost_is_no_finding(finished_artifacts):
    (finished_artifacts / "runs/digits/train/log.txt").unlink()
    code, answer = verify(finished_artifacts)
    assert (code, answer["changed"]) == (0, [])


def test_one_run_is_verified_without_the_others(finished_artifacts):
    shutil.copytree(finished_artifacts / "runs/digits", finished_artifacts / "runs/other")
    flip(finished_artifacts / "runs/other/train/deep/output.bin", at=0)
    assert verify(finished_artifacts, "--run", "digits")[0] == 0
    assert verify(finished_artifacts, "--run", "other")[0] == 1


def test_people_get_lines(finished_artifacts):
    command = [sys.executable, "-m", "resnet", "verify", "--artifacts", str(finished_artifacts)]
    assert "all as they were written" in subprocess.run(command, capture_output=True, text=True).stdout
    flip(finished_artifacts / "runs/digits/train/deep/output.bin", at=0)
    said = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    assert said[0].startswith("corrupt: ")
    assert said[1].startswith("  mend: rm ")
    assert said[-1].endswith(": 1 corrupt")


def test_a_run_that_is_not_there_is_one_message(finished_artifacts):
    command = [sys.executable, "-m", "resnet", "verify", "--artifacts", str(finished_artifacts), "--run", "digit"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "there is no run 'digit'" in done.stderr


def test_nothing_to_verify_is_no_proof(tmp_path):
    command = [sys.executable, "-m", "resnet", "verify", "--artifacts", str(tmp_path / "mistyped")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "there is nothing to verify in" in done.stderr


def test_no_link_is_followed_out_of_the_artifacts(finished_artifacts, tmp_path):
    outside = tmp_path / "outside.bin"
    path = finished_artifacts / "runs/digits/train/deep/output.bin"
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)
    code, answer = verify(finished_artifacts)
    assert code == 1
    assert answer["corrupt"][0]["why"] == "it leads out of the artifacts folder, and is not followed"


@pytest.fixture
def of_photographs(photographs, run_on, tmp_path) -> Run:
    """A conversion of a folder of images that is free to change, and to go."""
    shutil.copytree(photographs, tmp_path / "images")
    run = run_on(tmp_path / "images", tmp_path / "own" / "artifacts", "dataset.name=mine")
    run_stage("convert", run)
    return run


def test_images_that_have_changed_since_make_the_records_stale(of_photographs):
    of_photographs.store()
    shutil.copytree(of_photographs.folder, of_photographs.folder.with_name("other"))  # said once for all its runs
    (of_photographs.data / "cat" / "0.jpg").unlink()
    code, answer = verify(of_photographs.artifacts)
    assert code == 1
    assert [one["why"] for one in answer["stale"]] == ["stale: the images have changed"]


@pytest.mark.parametrize("change", ["gone", "others", "other settings"])
def test_mending_moves_nothing_where_the_shard_could_not_be_made_again(change, of_photographs, run_on):
    run = of_photographs
    flip(run.records / "train-00001-of-00003")
    if change == "gone":
        run.data.rename(run.data.with_name("unplugged"))
    if change == "others":
        (run.data / "cat" / "0.jpg").unlink()
    settings = ["records.seed=7"] if change == "other settings" else []
    run_on(run.data, run.artifacts, "dataset.name=mine", *settings).store()
    before = contents(run.records)
    command = [sys.executable, "-m", "resnet", "verify", "--mend", "--artifacts", str(run.artifacts)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"run \w+ does not make these records again: .", done.stderr)
    assert contents(run.records) == before
    assert not (run.artifacts / "trash").exists()


def test_a_copy_of_a_run_under_a_name_that_is_none_keeps_nothing_from_being_verified_or_mended(artifacts):
    shutil.copytree(artifacts / "runs/mine", artifacts / "runs/a copy")
    assert verify(artifacts)[0] == 0
    flip(artifacts / "records/digits/train-00001-of-00004")
    assert verify(artifacts, "--mend")[0] == 0


def test_a_link_that_leads_to_itself_is_a_finding(artifacts):
    shard = artifacts / "records/digits/train-00001-of-00004"
    shard.unlink()
    shard.symlink_to(shard)
    code, answer = verify(artifacts)
    assert code == 1
    assert {one["file"] for one in answer["corrupt"]} == {str(shard)}


@pytest.mark.skipif(sys.platform == "darwin", reason="its names are UTF-8")
def test_a_name_that_is_not_utf8_can_be_said(finished_artifacts):
    name = os.fsdecode(b"runs/caf\xe9")
    shutil.copytree(finished_artifacts / "runs/digits", finished_artifacts / name)
    flip(finished_artifacts / name / "train/deep/output.bin", at=0)
    command = [sys.executable, "-m", "resnet", "verify", "--artifacts", str(finished_artifacts)]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"})
    assert done.returncode == 1
    assert b"runs/caf\xe9/train/deep/output.bin" in done.stdout


def test_nothing_outside_is_moved_to_mend_records_whose_folder_is_a_link(artifacts, tmp_path):
    index = artifacts / "records/digits/index"
    shutil.move(index, tmp_path / "outside")
    index.symlink_to(tmp_path / "outside")
    before = contents(tmp_path / "outside")
    assert verify(artifacts, "--mend")[0] == 1
    assert contents(tmp_path / "outside") == before

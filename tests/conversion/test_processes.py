"""The processes that write shards."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conversions import data_files
from sample_images import photographs as sample_photographs
from worker_scripts import use_script

from resnet.conversion import processes
from resnet.errors import UserError
from resnet.run import Machine, Run
from resnet.stages import ledger_of, run_stage


@pytest.fixture
def jpegs(tmp_path):
    for i, (encoded, label) in enumerate(sample_photographs(8)):
        path = tmp_path / "images" / f"class{label}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded)
    return tmp_path / "images"


def run_of(recipe: str, artifacts, *overrides: str, data="") -> Run:
    few = ["records.train_shards=2", "records.validation_shards=1", *overrides]
    return Run.of(recipe, few, artifacts=artifacts, data=data, machine=Machine(workers=1))


def test_kernels_that_take_long_to_compile_are_named_before_the_progress_starts(jpegs, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(processes, "COMPILE_SECONDS", 0.0)
    run_stage("convert", run_of("imagefolder", tmp_path / "artifacts", data=jpegs))
    assert capfd.readouterr().err.startswith("compiling the JPEG kernels")


def test_images_that_are_not_jpegs_need_no_kernels(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(processes, "COMPILE_SECONDS", 0.0)
    run_stage("convert", run_of("digits", tmp_path / "artifacts"))
    assert "kernels" not in capfd.readouterr().err


def test_a_first_image_that_cannot_be_read_is_rejected_like_any_other(jpegs, tmp_path):
    for path in sorted(jpegs.rglob("*.jpg"))[::2]:
        path.unlink()
        path.symlink_to("nowhere")
    run = run_of("imagefolder", tmp_path / "artifacts", "records.max_rejected=4", data=jpegs)
    run_stage("convert", run)
    assert ledger_of(run).finished("convert")["rejected"] == 4


PATCHED = """
import errno, os, signal, sys, time
from pathlib import Path
import resnet.conversion.shard_writer as s
import resnet.conversion.worker as w
marker = Path({marker!r})
{patch}
w.serve(w.begin)
"""
AT_AN_IMAGE = """
at = w.Owner.at
def act(owner, what):
    at(owner, what)
    if what == {image!r}:
        {deed}
w.Owner.at = act
"""


@pytest.fixture
def patched(monkeypatch, tmp_path):
    """patched("lines of Python"): the workers of conversion run them first. They have a file `marker` to act once."""

    def use(patch: str) -> None:
        use_script(monkeypatch, PATCHED.format(marker=str(tmp_path / "marker"), patch=patch))

    return use


def at_an_image(image: str, deed: str) -> str:
    return AT_AN_IMAGE.format(image=image, deed=deed)


@pytest.fixture
def whole(jpegs, tmp_path) -> dict[str, bytes]:
    """The files of a conversion that nothing interferes with."""
    run = run_of("imagefolder", tmp_path / "whole", data=jpegs)
    run_stage("convert", run)
    return data_files(run.records)


ONCE = "if not marker.exists(): marker.touch(); os.kill(os.getpid(), signal.SIGKILL)"


def test_a_process_that_is_killed_while_it_starts_is_replaced(jpegs, tmp_path, patched, whole, capfd):
    patched(ONCE)
    run = run_of("imagefolder", tmp_path / "artifacts", data=jpegs)
    run_stage("convert", run)
    assert data_files(run.records) == whole
    said = capfd.readouterr().err
    assert re.search(r"warning: conversion: worker \d+ was ended by signal 9 \(Killed\); another takes its place", said)


def test_a_process_that_is_killed_at_an_image_is_replaced_and_the_image_named(jpegs, tmp_path, patched, whole, capfd):
    patched(at_an_image("class0/2.jpg", ONCE))
    run = run_of("imagefolder", tmp_path / "artifacts", data=jpegs)
    run_stage("convert", run)
    assert data_files(run.records) == whole
    assert "was ended by signal 9 (Killed) at class0/2.jpg; another takes its place" in capfd.readouterr().err


def test_an_image_that_no_process_survives_is_named_and_finished_shards_are_kept(jpegs, tmp_path, patched, monkeypatch):
    run = run_of("imagefolder", tmp_path / "artifacts", data=jpegs)
    with monkeypatch.context() as interfering:
        use_script(interfering, PATCHED.format(marker="", patch=at_an_image("class0/2.jpg", "os._exit(9)")))
        with pytest.raises(UserError) as error:
            run_stage("convert", run)
    assert re.match(r"3 workers of the conversion did not survive the same work", str(error.value))
    assert "ended with exit code 9 at class0/2.jpg. If memory ran out" in str(error.value)
    assert "Finished shards are kept." in str(error.value)
    kept = {path: path.stat().st_mtime_ns for path in (run.records / "index").glob("*.json")}
    run_stage("convert", run)  # nothing is locked any more
    assert ledger_of(run).finished("convert")["attempts"] == 2
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_images_that_take_long_together_do_not_get_their_process_killed(jpegs, tmp_path, patched, monkeypatch, capfd):
    monkeypatch.setattr(processes, "STALLED_SECONDS", 3.0)
    slow = "to_stored = s.to_stored\ns.to_stored = lambda *given: (time.sleep(0.7), to_stored(*given))[1]"
    patched(slow)
    run = run_of("imagefolder", tmp_path / "artifacts", "records.train_shards=1", data=jpegs)
    run_stage("convert", run)  # six training images in one shard
    assert "stuck" not in capfd.readouterr().err


def test_a_full_disk_is_an_error_that_names_the_shard(jpegs, tmp_path, patched):
    full = """
def write_shard(*_):
    raise OSError(errno.ENOSPC, "No space left on device")
w.write_shard = write_shard
"""
    patched(full)
    run = run_of("imagefolder", tmp_path / "artifacts", data=jpegs)
    shard = rf"{run.records}/[a-z]+-0000\d-of-0000\d"
    with pytest.raises(UserError, match=rf"^cannot write {shard}: No space left on device"):
        run_stage("convert", run)


HELD = """
import sys
from worker_scripts import use_script
from resnet.__main__ import main
from resnet.workers import pool
pool.command = lambda module: [sys.executable, "-c", {script!r}]
sys.exit(main({arguments!r}))
"""


@pytest.fixture
def held(jpegs, tmp_path):
    """A conversion in a process group of its own, whose worker waits at an image. Returns it and its worker's id."""
    os.mkfifo(tmp_path / "fifo")
    tell = f"open({str(tmp_path / 'fifo')!r}, 'w').write(str(os.getpid()))"
    script = PATCHED.format(marker="", patch=at_an_image("class0/2.jpg", f"{tell}; signal.pause()"))
    options = ["--recipe=imagefolder", f"--data={jpegs}", f"--artifacts={tmp_path / 'artifacts'}", "--workers=1"]
    (tmp_path / "temporary").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary")}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", HELD.format(script=script, arguments=["convert", *options])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    with open(tmp_path / "fifo") as fifo:
        worker = int(fifo.read())
    yield process, worker
    process.kill()
    process.communicate()


def test_a_killed_process_group_leaves_nothing_behind(held, tmp_path):
    process, worker = held
    mapped = [line for one in (process.pid, worker) for line in Path(f"/proc/{one}/maps").read_text().splitlines()]
    assert [line for line in mapped if "/dev/shm" in line and not line.endswith("(deleted)")] == []  # no semaphores
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)  # returns when the worker has closed its end
    assert list((tmp_path / "temporary").iterdir()) == []


def test_processes_end_with_a_conversion_that_is_killed_alone(held):
    process, _ = held
    process.kill()
    process.communicate(timeout=60)


def test_ctrl_c_ends_a_conversion_and_its_processes_with_one_line(held):
    process, worker = held
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "error: convert was interrupted; the same command continues it\n"
    assert not Path(f"/proc/{worker}").exists()

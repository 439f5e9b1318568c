"""The processes that write shards."""

from __future__ import annotations

import pytest
from sample_images import photographs as sample_photographs

from resnet.conversion import processes
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

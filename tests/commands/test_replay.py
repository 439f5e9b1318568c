"""Training again from a checkpoint, and what is said where the result is another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from resnet import __main__
from resnet.commands.replay import chosen, compare
from resnet.errors import UserError
from resnet.ledger.state_files import read_state
from resnet.run import Machine, Run
from resnet.stages import run_stage
from resnet.weights.tensor_files import read_tensors, write_tensors

SETTINGS = ["model.depth=8", "model.image_size=16", "evaluation.shorter_side=16", "training.epochs=1"]
KERNEL = "weights/stage1/block1/conv1/kernel"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The artifacts of a run with checkpoints of steps 10, 20 and 23, the last one. Not to be changed."""
    artifacts = tmp_path_factory.mktemp("trained") / "artifacts"
    settings = [*SETTINGS, "training.checkpoint_steps=10", "training.average=0.9"]
    run = Run.of("digits", settings, name="mine", artifacts=artifacts, machine=Machine(workers=1))
    for stage in ("convert", "train"):
        run_stage(stage, run)
    return artifacts


@pytest.fixture
def artifacts(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "artifacts"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def replay(artifacts: Path, *arguments: str) -> int:
    return __main__.main(["replay", "--run", "mine", "--artifacts", str(artifacts), "--workers", "1", *arguments])


def change_a_weight(artifacts: Path, step: int, by: float) -> None:
    """As somebody would who wants it unseen: the file is whole, with the SHA-256 of what it has now."""
    path = artifacts / f"runs/mine/train/checkpoints/step-{step:08d}.safetensors"
    tensors, facts = read_tensors(path)
    changed = tensors[KERNEL].copy()
    changed.flat[5] += by
    write_tensors(path, tensors | {KERNEL: changed}, facts)


def trained_on(artifacts: Path, device: str) -> None:
    path = artifacts / "runs/mine/train/stage.json"
    path.write_text(json.dumps(read_state(path) | {"devices": [device]}))


def test_a_run_is_replayed_bit_for_bit_and_stays_as_it_is(trained, capsys):
    before = contents(trained)
    assert replay(trained) == 0
    assert "replay: from step 20 to step 23: " in (said := capsys.readouterr().out)
    assert said.endswith(" tensors are the same, bit for bit\n")
    assert contents(trained) == before


def test_it_begins_where_it_is_asked_to_also_at_the_very_beginning(trained, capsys):
    assert replay(trained, "--from", "0", "--steps", "20", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["from"], answer["to"], answer["same"], answer["largest_difference"]) == (0, 20, True, 0.0)


def test_a_changed_weight_is_refused_and_its_step_and_tensor_are_named(artifacts, capsys):
    change_a_weight(artifacts, 23, by=1e-6)
    assert replay(artifacts) == 1
    said = capsys.readouterr().err
    assert f"error: step 23 does not come from step 20: {KERNEL} differs in 1 numbers, by " in said
    assert "not a bit may differ on the same kind of device" in said.lower()


def test_a_changed_weight_to_begin_with_is_refused_too(artifacts, capsys):
    change_a_weight(artifacts, 20, by=0.1)
    assert replay(artifacts) == 1
    assert "step 23 does not come from step 20: " in capsys.readouterr().err


def test_weights_that_are_not_those_of_the_last_step_are_refused(artifacts, capsys):
    path = artifacts / "runs/mine/train/weights.safetensors"
    tensors, facts = read_tensors(path)
    write_tensors(path, tensors | {"classifier/bias": tensors["classifier/bias"] + 1}, facts)
    assert replay(artifacts) == 1
    assert "classifier/bias of weights.safetensors differs in 10 numbers" in capsys.readouterr().err


def test_on_another_kind_of_device_a_small_difference_is_allowed_and_said(artifacts, capsys):
    trained_on(artifacts, "NVIDIA H100")
    change_a_weight(artifacts, 23, by=1e-6)
    assert replay(artifacts) == 0
    assert "(0.01 is allowed: trained on NVIDIA H100, and this is CPU)" in capsys.readouterr().out
    change_a_weight(artifacts, 23, by=1.0)
    assert replay(artifacts) == 1
    assert "0.01 of its norm is allowed, as it was trained on NVIDIA H100" in capsys.readouterr().err


def test_a_run_without_checkpoints_says_what_to_do(artifacts, capsys):
    shutil.rmtree(artifacts / "runs/mine/train/checkpoints")
    assert replay(artifacts) == 1
    assert "run mine has no checkpoints: luigi --module pipeline Train" in capsys.readouterr().err


@pytest.fixture
def checkpoints(tmp_path) -> Path:
    for step in (10, 20, 23):
        (tmp_path / f"step-{step:08d}.safetensors").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("first", "count", "steps"),
    [(None, None, (20, 23)), (10, None, (10, 20)), (0, None, (0, 10)), (None, 10, (10, 20)), (0, 23, (0, 23))],
)
def test_the_steps_are_those_between_two_checkpoints(first, count, steps, checkpoints):
    assert chosen(checkpoints, first, count) == steps


@pytest.mark.parametrize(
    ("first", "count", "words"),
    [
        (11, None, "there is no checkpoint of step 11, but of 10, 20, 23, and 0 is the start"),
        (10, 5, "there is no checkpoint of step 15 to compare with, but of 10, 20, 23"),
        (23, None, "there is no later checkpoint to compare with"),
        (None, 4, "there is no checkpoint of step 4 to compare with"),
    ],
)
def test_steps_that_cannot_be_compared_are_refused_with_those_that_can(first, count, words, checkpoints):
    with pytest.raises(UserError, match=words):
        chosen(checkpoints, first, count)


def test_only_one_checkpoint_is_compared_with_the_beginning(tmp_path):
    (tmp_path / "step-00000001.safetensors").touch()
    assert chosen(tmp_path, None, None) == (0, 1)


def test_tensors_differ_where_any_bit_does():
    zero, minus_zero = {"a": np.array([0.0, 1.0])}, {"a": np.array([-0.0, 1.0])}
    assert compare(zero, {"a": np.array([0.0, 1.0])}) == []
    (one,) = compare(zero, minus_zero)
    assert one.tensor == "a"
    (off,) = compare({"a": np.array([3.0, 4.0])}, {"a": np.array([3.0, 5.0])})
    assert (off.numbers, off.relative) == (1, pytest.approx(1 / np.sqrt(34)))
    with pytest.raises(UserError, match="only one of the two has b"):
        compare(zero, zero | {"b": np.zeros(1)})

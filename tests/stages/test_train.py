"""The train and batchnorm stages, run as commands: interrupted, resumed, validated, and averaged."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from resnet.loader.batches import training_batches
from resnet.loader.mixing import Mixer, kept
from resnet.progress import ENVIRONMENT
from resnet.records.shards import ShardedRecords
from resnet.run import Machine, Run
from resnet.training.log_format import read_log
from resnet.training.schedule import Schedule
from resnet.training.statistics import averaged_statistics
from resnet.weights.safetensors_header import read_facts
from resnet.weights.tensor_files import read_tensors

OVERRIDES = (
    "model.depth=8",
    "model.image_size=16",
    "evaluation.shorter_side=16",
    "training.epochs=3",
    "training.batch_size=128",
    "training.replica_batch_size=64",
    "training.drop_epochs=[2]",
    "training.checkpoint_steps=5",
    "augmentation.padding=2",
)


def command(stage: str, artifacts: Path, *more: str) -> list[str]:
    options = [f"--override={override}" for override in OVERRIDES]
    return [sys.executable, "-m", "resnet", stage, "--artifacts", str(artifacts), "--workers=2", *options, *more]


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory) -> Path:
    """Records, and a training without an interruption, as run "whole"."""
    folder = tmp_path_factory.mktemp("artifacts")
    subprocess.run(command("convert", folder), check=True)
    subprocess.run(command("train", folder, "--run=whole"), check=True)
    return folder


def interrupt(
    artifacts: Path, run: str, number: signal.Signals, after_step: int, *overrides: str, **environment: str
) -> int:
    """Train, and send a signal when the trainer reports a step after `after_step`. Returns the exit code."""
    reading, writing = os.pipe()
    trainer = subprocess.Popen(
        command("train", artifacts, f"--run={run}", *overrides),
        env=os.environ | {ENVIRONMENT: str(writing)} | environment,
        pass_fds=(writing,),
    )
    os.close(writing)
    with open(reading) as pipe:
        for line in pipe:
            if json.loads(line).get("fraction", 0) * 34 > after_step:  # 3 epochs of 1,438 images: 34 steps
                trainer.send_signal(number)
                break
        return trainer.wait()


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_ctrl_c_saves_although_nobody_can_read_what_training_says(artifacts, kind):
    """As under `| tee log`, which ends at the same Ctrl-C, or when the terminal is gone."""
    reading, writing = os.pipe() if kind == "pipe" else os.openpty()
    run = f"unread-{kind}"
    trainer = subprocess.Popen(command("train", artifacts, f"--run={run}"), stdout=writing, stderr=writing)
    os.close(writing)
    said = b""
    while b"epoch 1/3" not in said:  # after 12 steps
        said += os.read(reading, 1 << 16)
    os.close(reading)
    trainer.send_signal(signal.SIGINT)
    assert trainer.wait() == 130
    steps = [int(path.stem.split("-")[1]) for path in (artifacts / "runs" / run / "train/checkpoints").iterdir()]
    assert max(steps) >= 12  # 12 if the signal came while the epoch, which was saved before, was validated


def weights(artifacts: Path, run: str) -> dict[str, np.ndarray]:
    return read_tensors(artifacts / "runs" / run / "train" / "weights.safetensors")[0]


def timeless(artifacts: Path, run: str) -> list[dict[str, float]]:
    """The lines of a training's log without what is a matter of time."""
    lines = read_log(artifacts / "runs" / run / "train" / "log.jsonl")
    timed = ("seconds", "images_per_second", "data_wait")
    return [{name: value for name, value in line.items() if name not in timed} for line in lines]


def test_a_lengthened_training_ends_as_one_that_was_so_long_from_the_start(artifacts):
    subprocess.run(command("train", artifacts, "--run=longer", "--override=training.epochs=2"), check=True)
    folder = artifacts / "runs" / "longer" / "train"
    (folder / "best.safetensors").write_text("of a time when training.keep_best was set")
    done = subprocess.run(command("train", artifacts, "--run=longer"), check=True, capture_output=True, text=True)
    assert not (folder / "best.safetensors").exists()
    assert "lengthened from 2 epochs: weights, losses and errors are those of" in done.stdout
    assert "resuming from step 23" in done.stdout
    whole, longer = weights(artifacts, "whole"), weights(artifacts, "longer")
    assert all(whole[name].tobytes() == longer[name].tobytes() for name in whole)
    whole_log, longer_log = (timeless(artifacts, run) for run in ("whole", "longer"))
    assert whole_log == longer_log
    record = json.loads((folder / "stage.json").read_text())
    assert record["lengthened_from"] == [2]


MODERN = [
    f"--override={setting}"
    for setting in (
        "training.warmup_epochs=1",
        "training.schedule=cosine",
        "training.label_smoothing=0.1",
        "training.average=0.9",
        "training.first_image_size=8",
        "training.growing_epochs=1",
        "augmentation.policy=randaugment",
        "augmentation.erasing=0.2",
        "augmentation.mixup=0.2",
        "augmentation.cutmix=1.0",
        "training.keep_best=true",
    )
]


def test_a_killed_training_ends_with_the_same_weights_bit_for_bit(artifacts, tmp_path):
    """With what newer recipes ask for, killed on two devices and ended on one."""
    subprocess.run(command("train", artifacts, "--run=modern", *MODERN), check=True)
    run = "killed"
    assert interrupt(artifacts, run, signal.SIGKILL, 14, *MODERN, "--cpu-devices=2", TMPDIR=str(tmp_path)) != 0
    assert list(tmp_path.glob("*autograph*")) == []  # TensorFlow would leave generated code
    saved = sorted((artifacts / "runs" / run / "train" / "checkpoints").iterdir())
    assert saved
    resumed = command("train", artifacts, f"--run={run}", *MODERN)
    done = subprocess.run(resumed, check=True, capture_output=True, text=True)
    assert f"resuming from step {int(saved[-1].stem.split('-')[1])}" in done.stdout
    whole, killed = weights(artifacts, "modern"), weights(artifacts, run)
    assert set(whole) == set(killed)
    assert all(whole[name].tobytes() == killed[name].tobytes() for name in whole)
    best, best_of_killed = (artifacts / "runs" / name / "train" / "best.safetensors" for name in ("modern", run))
    assert best.read_bytes() == best_of_killed.read_bytes()
    lines = [line for line in timeless(artifacts, "modern") if "validation_loss" in line]
    lowest = min(lines, key=lambda line: line["validation_top1_error"])
    assert read_facts(best)["step"] == lowest["step"]
    steps = [line["step"] for line in read_log(artifacts / "runs" / run / "train" / "log.jsonl") if "loss" in line]
    assert steps == sorted(set(steps))
    record = json.loads((artifacts / "runs" / run / "train" / "stage.json").read_text())
    assert record["attempts"] == 2


def test_averaging_statistics_leaves_no_generated_code_in_the_temporary_folder(photo_records, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run = Run.of("digits", [*OVERRIDES, "batchnorm.batches=1"], artifacts=tmp_path, machine=Machine(workers=1))
    [_] = averaged_statistics(
        run, photo_records, lambda images, training: (images, [(images[0, 0, 0], images[0, 0, 1])]), [1]
    )
    assert list(tmp_path.iterdir()) == []


def test_statistics_are_averaged_over_images_mixed_as_in_training(photo_records, tmp_path):
    settings = [*OVERRIDES, "batchnorm.batches=2", "augmentation.mixup=0.5", "augmentation.cutmix=0.5"]
    run = Run.of("digits", settings, artifacts=tmp_path, machine=Machine(workers=1))
    seen = []
    [found] = averaged_statistics(
        run, photo_records, lambda images, training: (images, [(images[0, :8], images[0, 8:])]), [2]
    )
    first = Schedule(run.recipe.training, len(photo_records)).steps
    with training_batches(run.recipe, photo_records, 1, first, first + 2) as loader:
        for batch in loader:
            mixes = Mixer.of(run.recipe)(batch.step, 16)
            for mix, (image, partner) in zip(mixes, [batch.images[[0, 63]], batch.images[[64, 127]]], strict=True):
                share = kept(mix, 16)[..., None]
                seen.append(share * image + (1 - share) * partner)
    np.testing.assert_allclose(np.concatenate(found), np.mean(seen, 0), atol=1e-3)


def test_stage_json_says_what_was_trained_and_what_it_took(artifacts):
    record = json.loads((artifacts / "runs/whole/train/stage.json").read_text())
    assert record["parameters"] == 78_042  # of ResNet-8 for 10 classes
    assert record["peak_memory"]["process"] > record["peak_memory"]["largest_worker"] > 20_000_000


def test_the_loss_falls_and_the_learning_rate_drops(artifacts):
    lines = [line for line in read_log(artifacts / "runs/whole/train/log.jsonl") if "loss" in line]
    losses = [line["loss"] for line in lines]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    assert {line["learning_rate"] for line in lines} == {0.1, 0.01}
    named = "step epoch loss top1_error top5_error gradient_norm learning_rate images_per_second data_wait seconds"
    assert set(lines[0]) == set(named.split())


def test_each_epoch_is_validated(artifacts):
    lines = [line for line in read_log(artifacts / "runs/whole/train/log.jsonl") if "validation_loss" in line]
    assert [round(line["epoch"]) for line in lines] == [1, 2, 3]


@pytest.mark.parametrize("is_validated", [False, True])
def test_an_epoch_whose_validation_was_interrupted_is_validated_on_resume(artifacts, tmp_path, is_validated):
    shutil.copytree(artifacts, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "runs/whole/train"
    (folder / "weights.safetensors").unlink()  # training resumes from its last checkpoint
    lines = read_log(folder / "log.jsonl")  # the last one is a validation
    kept = lines if is_validated else lines[:-1]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    subprocess.run(command("train", tmp_path, "--run=whole"), check=True)
    assert [line | {"seconds": 0} for line in read_log(folder / "log.jsonl")] == [
        line | {"seconds": 0} for line in lines
    ]


def change_records(artifacts: Path, split: str, *numbers: int) -> None:
    """Change a byte of some records."""
    records = ShardedRecords(artifacts / "records" / "digits", split)
    for number in numbers:
        shard, offset, length, _ = records.index[number].item()
        content = bytearray(records.shards[shard].read_bytes())
        content[offset + length // 2] ^= 1
        records.shards[shard].write_bytes(content)


def test_a_corrupt_validation_record_stops_training_before_the_first_step(artifacts, tmp_path):
    shutil.copytree(artifacts / "records", tmp_path / "records")
    change_records(tmp_path, "validation", 7)
    done = subprocess.run(command("train", tmp_path), capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"error: .*validation-00000-of-00001: the record at byte \d+ is corrupt", done.stderr)
    assert not list((tmp_path / "runs/digits/train/checkpoints").iterdir())


def test_corrupt_records_are_those_of_the_run_and_not_of_its_last_attempt(artifacts, tmp_path):
    shutil.copytree(artifacts / "records", tmp_path / "records")
    change_records(tmp_path, "train", 3, 900)
    allowed = "--override=records.max_corrupt=2"
    assert interrupt(tmp_path, "digits", signal.SIGHUP, 12, allowed) == 130  # after an epoch: it has met both
    folder = tmp_path / "runs/digits/train"
    known = read_facts(max((folder / "checkpoints").iterdir()))["corrupt"]
    assert len(known) == 2
    done = subprocess.run(command("train", tmp_path, allowed), check=True, capture_output=True, text=True)
    assert "corrupt" not in done.stderr
    assert json.loads((folder / "stage.json").read_text())["corrupt_records"] == known


def test_training_does_not_begin_on_a_full_disk(artifacts, monkeypatch, capsys):
    from resnet.__main__ import main

    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10**6))
    assert main(command("train", artifacts, "--run=full")[3:]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: training needs 3 MB for checkpoints and weights in ")
    assert "its disk has 1 MB free" in message


def test_a_complete_training_does_not_run_again(artifacts):
    stage = artifacts / "runs/whole/train/stage.json"
    before = stage.stat().st_mtime_ns
    subprocess.run(command("train", artifacts, "--run=whole"), check=True)
    assert stage.stat().st_mtime_ns == before


def test_batchnorm_averages_the_statistics_of_the_batches_after_the_last_step(artifacts):
    """The expected averages are computed from the weights with NumPy."""
    subprocess.run(command("batchnorm", artifacts, "--run=whole", "--override=batchnorm.batches=3"), check=True)
    import tensorflow as tf

    from resnet.model.network import network_of
    from resnet.records.shards import ShardedRecords
    from resnet.weights.safetensors_files import assign

    run = Run.of("digits", OVERRIDES, name="whole", artifacts=artifacts)
    records = ShardedRecords(run.records, "train")
    network = network_of(run.recipe, 10)
    assign(network.named_variables(), weights(artifacts, "whole"), Path("train"))
    moments = []
    with training_batches(run.recipe, records, 2, 34, 37) as loader:
        for batch in loader:
            for replica in (batch.images[:64], batch.images[64:]):
                moments.append([m.numpy() for pair in network(tf.constant(replica), training=True)[1] for m in pair])
    averaged = [np.mean([m[i] for m in moments], 0) for i in range(len(moments[0]))]
    found = read_tensors(run.stage_folder("batchnorm") / "weights.safetensors")[0]
    names = [name for norm in network.norms for name in (norm.mean.name, norm.variance.name)]
    for name, expected in zip(names, averaged, strict=True):
        np.testing.assert_allclose(found[name.split(":")[0]], expected, rtol=1e-3, atol=1e-5, err_msg=name)
    trained = weights(artifacts, "whole")
    untouched = set(found) - {name.split(":")[0] for name in names}
    assert all(np.array_equal(found[name], trained[name]) for name in untouched)


def test_a_loss_that_is_not_finite_stops_training_with_one_message(artifacts):
    done = subprocess.run(
        command("train", artifacts, "--run=wild", "--override=training.learning_rate=1e20"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "error: the loss became" in done.stderr
    assert "Lower training.learning_rate" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_opening_lines_say_how_the_learning_rate_goes_and_which_drops_come_too_late():
    import tensorflow as tf

    from resnet.model.network import ResNet
    from resnet.settings import Training
    from resnet.stages.pieces import Pieces, opening_line
    from resnet.training.schedule import Schedule

    def opening(drops: list[int], **more) -> str:
        settings = Training(epochs=6, batch_size=64, replica_batch_size=64, drop_epochs=drops, **more)
        strategy, step = tf.distribute.OneDeviceStrategy("/cpu:0"), SimpleNamespace(replicas_at_once=1)
        return opening_line(Pieces(range(1_000), strategy, ResNet(20, 10), step, Schedule(settings, 1_000)), 1, 0)

    assert "train: learning rate 0.1, times 0.1 after epochs 3 and 5" in opening([3, 5])
    assert "learning rate drops" not in opening([3, 5])
    cosine = {"schedule": "cosine", "final_learning_rate": 1e-5, "warmup_epochs": 1}
    assert "train: learning rate 0.1 after a warm-up of 1 epoch, along a cosine to 1e-05" in opening([3], **cosine)
    assert opening([]).endswith("train: learning rate 0.1")
    assert "times 0.1 after epoch 3\n" in opening([3, 6])
    assert "training ends before the learning rate drops after epoch 6" in opening([3, 6])
    assert "training ends before the learning rate drops after epochs 30 and 60" in opening([5, 30, 60])


def test_a_range_test_draws_the_losses_and_leaves_the_run_as_it_is(artifacts, tmp_path):
    folder = artifacts / "runs" / "whole"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    out = tmp_path / "rates.svg"
    arguments = command("find-learning-rate", artifacts, "--run=whole", "--steps=10", f"--out={out}")
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    assert f"find-learning-rate: {out}" in done.stdout
    assert "learning rate</text>" in out.read_text()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before

"""python -m resnet batch."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from conversions import identities
from ledgers import begin
from loader_records import corrupt
from safetensors.numpy import save_file

from resnet.__main__ import main
from resnet.ledger.locking import working
from resnet.ledger.state_files import write_state
from resnet.records.shards import ShardedRecords
from resnet.run import Run
from resnet.stages import ledger_of, run_stage

SETTINGS = (
    "model.image_size=32",
    "evaluation.shorter_side=40",
    "training.batch_size=8",
    "training.replica_batch_size=8",
    "training.epochs=2",
    "records.max_corrupt=1",
)


@pytest.fixture
def training(converted_copy, run_on) -> Run:
    """A run on the photographs that has begun to train: 32 images, so 8 steps."""
    run = run_on(converted_copy.data, converted_copy.artifacts, *SETTINGS)
    run_stage("convert", run)
    begin(ledger_of(run), "train")
    return run


@pytest.fixture
def batch(training, tmp_path, monkeypatch, capsys):
    """batch("--step=3"): exit code, standard output and standard error of the command in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments: str, name: str = training.name) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["batch", "--run", name, "--artifacts", str(training.artifacts), *arguments])
        return code, *capsys.readouterr()

    return run


def write_log(run: Run, *steps: int) -> None:
    line = {"epoch": 0.5, "top1_error": 50.0, "learning_rate": 0.1, "images_per_second": 9.0, "data_wait": 0.0}
    lines = [line | {"step": step, "loss": step / 10, "seconds": 1.0} for step in steps]
    (run.stage_folder("train") / "log.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))


def test_the_step_of_a_line_of_the_log_is_drawn_while_the_run_trains(batch, training):
    write_log(training, 2, 5)
    with working(ledger_of(training), "train"):  # which locks it, as training does
        before = identities(training.artifacts)
        code, out, err = batch("--step", "4", "--count", "3")
        assert identities(training.artifacts) == before
    assert (code, err) == (0, "")
    here = Path.cwd()
    assert out.splitlines() == [
        'batch: step 4 of 8, in epoch 1; loss 0.500 in the log, at "step": 5, the mean of steps 3 to 5',
        f"batch: {here}/imagefolder-step-4.png shows 3 of its 8 images; left: what the network saw, "
        "right: the whole image",
        f"batch: {here}/imagefolder-step-4.csv lists all",
    ]
    with open("imagefolder-step-4.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["position"]) for row in rows] == list(range(24, 32))  # the fourth batch, counted from 1


def test_steps_that_the_log_has_not_come_to_can_be_drawn(batch, training):
    write_log(training, 2)
    assert "step 8 of 8, in epoch 2; the log has not come to it yet" in batch("--step=8")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--step=9"], "--step 9: run imagefolder trains 8 steps, which count from 1"),
        (["--step=0"], "steps count from 1, as in log.jsonl"),
        (["--step=-3"], "--step and --count must be at least 1"),
        (["--step=1", "--count=0"], "--step and --count must be at least 1"),
        (["--step=1", "--out=sheet.jpg"], "--out sheet.jpg: the sheet is a PNG file, so its name must end in .png"),
        (["--step=1", "--out=none/sheet.png"], "--out none/sheet.png: there is no folder "),
    ],
)
def test_what_cannot_be_drawn_is_one_message(batch, arguments, message):
    code, out, err = batch(*arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
    assert not list(Path.cwd().iterdir())


def test_a_run_that_is_not_there_is_an_error(batch):
    assert "there is no run 'other'" in batch("--step=1", name="other")[2]


def test_a_run_that_has_not_begun_to_train_says_how_to(batch, training):
    (training.stage_folder("train") / "begun.json").unlink()
    code, _, err = batch("--step=1")
    assert code == 1
    assert "run imagefolder has not begun to train. Train it: luigi --module pipeline Train" in err


def test_a_run_of_imported_weights_was_not_trained_here(batch, training):
    begun = json.loads((training.stage_folder("train") / "begun.json").read_text())
    del begun["checksum"]
    write_state(training.stage_folder("train") / "begun.json", begun | {"imported": {"file": "/w.pth", "sha256": ""}})
    assert "run imagefolder has imported weights (/w.pth): it was not trained here" in batch("--step=1")[2]


def test_other_records_than_those_that_the_run_trained_on_are_refused(batch, training):
    stage = training.stage_folder("train") / "begun.json"
    begun = json.loads(stage.read_text())
    del begun["checksum"]
    write_state(stage, begun | {"inputs": {"convert": "another digest"}})
    assert (
        "were made again since, with another result, so what run imagefolder saw is not there" in batch("--step=1")[2]
    )
    (training.records / "stage.json").unlink()
    assert f"the records in {training.records} are not complete" in batch("--step=1")[2]


def test_the_corrupt_records_are_those_of_the_newest_checkpoint_until_training_has_ended(batch, training):
    records = ShardedRecords(training.records, "train")
    shard, offset = corrupt(training.records, 7)
    name = f"{records.shards[shard].name}: the record at byte {offset} is corrupt: its checksum does not match"
    folder = training.stage_folder("train") / "checkpoints"
    folder.mkdir()
    for step, facts in ((3, {"corrupt": []}), (5, {"corrupt": [name]})):
        header = {"facts": json.dumps(facts | {"step": step, "sha256": ""})}
        save_file({"weight": np.zeros(1, np.float32)}, folder / f"step-{step:08d}.safetensors", header)
    found = []
    for step in (1, 2, 3, 4):
        code, out, err = batch(f"--step={step}")
        assert (code, err) == (0, "")  # the run knows it: no warning
        with open(f"imagefolder-step-{step}.csv", newline="") as file:
            found += [(row, out) for row in csv.DictReader(file) if row["instead_of"]]
    ((row, out),) = [one for one in found if one[0]["epoch"] == "1"]
    assert row["instead_of"] == f"{records.shards[shard].name}:{offset}"
    assert row["offset"] == str(records.index["offset"][8])
    assert "batch: 1 of them is a substitute of a corrupt record" in out


def test_a_corrupt_record_that_the_run_does_not_know_is_named(batch, training):
    _, offset = corrupt(training.records, 7)
    printed = "".join(batch(f"--step={step}")[2] for step in (1, 2, 3, 4))
    assert printed.count(f"the record at byte {offset} is corrupt") == 1
    assert "training has not reported it" in printed


def test_the_corrupt_records_of_a_finished_training_are_those_of_its_stage_json(batch, training):
    records = ShardedRecords(training.records, "train")
    name = f"{records.shards[0].name}: the record at byte {records.index['offset'][7]} is corrupt: "
    assert records.index["shard"][7] == 0
    begin(ledger_of(training), "train").finish([], corrupt_records=[name])
    printed = "".join(batch(f"--step={step}")[1] for step in (1, 2, 3, 4))
    assert printed.count("1 of them is a substitute of a corrupt record") == 1

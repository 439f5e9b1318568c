"""Made artifacts: a finished digits run with scores, a log and files to open."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ledgers import begin, ledger_in

from resnet.records.shards import write_classes

SCORES = {"loss": 0.1, "top1_error": 1.25, "top1_error_interval": [0.5, 2.75]}
FACTS = {
    "convert": {"images": {"train": 1438, "validation": 359}, "rejected": 2, "ignored": {"text": 1}},
    "evaluate": {"metrics": {"images": 359, "views": {"1-crop": SCORES}}},
}


def validated(epoch: int, error: float) -> dict[str, float]:
    scores = {"validation_loss": 1.0, "validation_top1_error": error}
    return {"step": 23 * epoch, "epoch": epoch + 0.01, "seconds": 3.0 * epoch} | scores


def write_log(path: Path, epochs: int) -> None:
    lines = [validated(epoch, 60.0 / epoch) for epoch in range(1, epochs + 1)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="session")
def made_artifacts(tmp_path_factory) -> Path:
    """Not to be changed: see `artifacts`."""
    ledger = ledger_in(tmp_path_factory.mktemp("made") / "artifacts")
    for stage in ("convert", "train", "batchnorm", "evaluate", "report"):
        attempt = begin(ledger, stage)
        attempt.finish([], **FACTS.get(stage, {}))
    write_classes(ledger.run.records, [(str(digit), str(digit)) for digit in range(10)])
    folder = ledger.run.folder
    (folder / "export" / "onnx").mkdir(parents=True)
    write_log(folder / "train" / "log.jsonl", 40)
    for name in ("train/weights.safetensors", "batchnorm/weights.safetensors", "report/report.html"):
        (folder / name).touch()
    for name in ("predictions.csv", "predictions-10-crop.csv"):
        (folder / "evaluate" / name).touch()
    for name in ("rejected.csv", "ignored.csv"):
        (ledger.run.records / name).touch()
    return ledger.run.artifacts


@pytest.fixture
def artifacts(made_artifacts, tmp_path) -> Path:
    """Made artifacts, free to change."""
    return Path(shutil.copytree(made_artifacts, tmp_path / "artifacts"))

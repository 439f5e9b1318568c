"""An export is put in place whole, or not at all."""

from __future__ import annotations

import dataclasses
import errno
import json
import re
import sys
from importlib import import_module

import numpy as np
import pytest
import tensorflow as tf
from ledgers import begin

from resnet.__main__ import main
from resnet.errors import LockedElsewhere, UserError
from resnet.exporting import FORMATS
from resnet.exporting.export import export
from resnet.ledger import Ledger
from resnet.locks import locked
from resnet.predictions_file import write_predictions
from resnet.records.shards import read_classes

ONNX = FORMATS["onnx"]


@pytest.fixture
def earlier(evaluated_copy):
    """The folder export/onnx of the run, with a file of an earlier export in it."""
    folder = evaluated_copy.run.folder / "export" / "onnx"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_text("earlier")
    return folder


def require_untouched(folder):
    """The earlier export is as it was, and nothing is beside it."""
    assert {path.name for path in folder.parent.iterdir()} <= {"onnx", ".lock"}
    assert [path.name for path in folder.iterdir()] == ["model.onnx"]
    assert (folder / "model.onnx").read_text() == "earlier"


def evaluate_wrongly(ledger):
    """Finish Evaluate with the predictions of another network."""
    classes = read_classes(ledger.run.records)
    folder = ledger.run.stage_folder("evaluate")
    rows = (folder / "predictions.csv").read_bytes().decode(errors="surrogateescape").split("\n")[1:-1]
    likeliest = np.tile(np.arange(4), (len(rows), 1))
    wrong = np.tile([0.7, 0.1, 0.1, 0.1], (len(rows), 1))
    attempt = begin(ledger, "evaluate")
    table = write_predictions(
        folder / "predictions.csv", [row.split(",")[0] for row in rows], likeliest[:, 0], likeliest, wrong, classes
    )
    attempt.finish(
        [table, folder / "metrics.json"], devices=["CPU"], metrics=json.loads((folder / "metrics.json").read_text())
    )


def test_an_export_replaces_the_earlier_one_whole(evaluated_copy, earlier, capsys):
    arguments = ["--run", "small", "--format", "onnx", "--artifacts", str(evaluated_copy.run.artifacts)]
    assert main(["export", *arguments]) == 0
    said = capsys.readouterr().out
    assert re.fullmatch(
        rf"export: ONNX in {earlier}; its probabilities of 40 validation images differ from Evaluate's by \S+ at most "
        r"\(0\.001 is allowed\)\n",
        said,
    )
    assert {path.name for path in earlier.parent.iterdir()} == {"onnx", ".lock"}
    assert {path.name for path in earlier.iterdir()} == {"model.onnx", "README.md"}
    assert (earlier / "model.onnx").stat().st_size > 100_000
    assert 'href="runs/small/export/onnx/"' in (evaluated_copy.run.artifacts / "index.html").read_text()


def test_a_network_that_answers_otherwise_than_evaluate_is_not_put_in_place(evaluated_copy, earlier):
    evaluate_wrongly(evaluated_copy)
    with pytest.raises(
        UserError, match=r"the exported network \(ONNX\) answers .* of 40 images otherwise than Evaluate"
    ):
        export(evaluated_copy, ONNX)
    require_untouched(earlier)


@pytest.mark.parametrize("name", ["batchnorm/weights.safetensors", "evaluate/predictions.csv", "evaluate/metrics.json"])
def test_a_file_that_was_tampered_with_stops_an_export(evaluated_copy, earlier, name):
    path = evaluated_copy.run.folder / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path} is corrupt: it differs from what .* wrote. Delete it"):
        export(evaluated_copy, ONNX)
    require_untouched(earlier)


FULL = "No space left on device"
FULL_FOR_TENSORFLOW = tf.errors.ResourceExhaustedError(
    None, None, f"{{{{function_node __wrapped__SaveV2}}}} /x/variables.data: failed to write; {FULL} [Op:SaveV2]"
)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, FULL), FULL_FOR_TENSORFLOW, KeyboardInterrupt()])
def test_an_export_that_cannot_be_finished_leaves_what_was_there(evaluated_copy, earlier, monkeypatch, error):
    def write(interface, folder):
        (folder / "model.onnx").write_text("half")
        raise error

    monkeypatch.setattr(import_module(ONNX.module), "write", write)
    with pytest.raises((UserError, KeyboardInterrupt)) as raised:
        export(evaluated_copy, ONNX)
    if not isinstance(error, KeyboardInterrupt):
        assert f"the export to ONNX cannot be written in {earlier.parent}: {FULL}. Nothing" in str(raised.value)
    require_untouched(earlier)


def test_nobody_rebuilds_what_an_export_reads(evaluated_copy, monkeypatch):
    tried = []

    def write(interface, folder):
        for path in (evaluated_copy.run.records, *(evaluated_copy.run.folder / s for s in ("batchnorm", "evaluate"))):
            with pytest.raises(LockedElsewhere), locked(path):
                pass
            tried.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module(ONNX.module), "write", write)
    with pytest.raises(KeyboardInterrupt):
        export(evaluated_copy, ONNX)
    assert len(tried) == 3


def test_a_run_that_is_not_evaluated_is_told_how_to_go_on(evaluated_copy):
    (evaluated_copy.run.stage_folder("evaluate") / "stage.json").unlink()
    with pytest.raises(
        UserError, match="run small cannot be exported before it is evaluated: it was interrupted"
    ) as raised:
        export(evaluated_copy, ONNX)
    command = (
        f"luigi --module pipeline Evaluate --local-scheduler --run small --artifacts {evaluated_copy.run.artifacts}"
    )
    assert str(raised.value).endswith(command)
    assert not (evaluated_copy.run.folder / "export").exists()


def test_an_unknown_run_is_named_with_the_nearest_one(evaluated, capsys):
    artifacts = evaluated.run.artifacts
    assert main(["export", "--run", "smal", "--format", "onnx", "--artifacts", str(artifacts)]) == 1
    expected = f"error: there is no run 'smal' in {artifacts / 'runs'}; did you mean small? The runs there: small.\n"
    assert capsys.readouterr().err == expected


def test_an_unknown_format_is_an_error_that_lists_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        main(["export", "--run", "small", "--format", "caffe"])
    assert re.search("caffe.*savedmodel.*onnx.*tflite", capsys.readouterr().err)


def test_missing_packages_are_one_message_with_the_line_that_installs_them(monkeypatch, capsys):
    for name in ("onnxruntime", "onnx"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["export", "--run", "small", "--format", "onnx"]) == 1
    said = capsys.readouterr().err
    assert said == (
        f"error: an export to ONNX needs onnx, onnxruntime. Install: {sys.executable} -m pip install onnx onnxruntime\n"
    )


def test_a_run_without_answers_to_the_centre_crop_is_refused_with_the_setting_to_change(evaluated_copy, monkeypatch):
    run = evaluated_copy.run
    evaluation = run.recipe.evaluation.model_copy(update={"views": ["10-crop"]})
    other = Ledger(dataclasses.replace(run, recipe=run.recipe.model_copy(update={"evaluation": evaluation})), None)
    monkeypatch.setattr(other, "why_incomplete", lambda stage: "")
    with pytest.raises(UserError, match=r"1-crop view.*Add it to evaluation\.views"):
        export(other, ONNX)
    assert not (run.folder / "export" / "onnx").exists()

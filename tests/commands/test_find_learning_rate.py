"""python -m resnet find-learning-rate: what it refuses, before it imports TensorFlow."""

from __future__ import annotations

import pytest

from resnet.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps=9"], "--steps must be at least 10"),
        (
            ["--recipe=digits"],
            "train depends on convert, which is incomplete: it has not run yet. Run it first: python -m resnet convert",
        ),
        (["--recipe=digit"], "digits"),
    ],
)
def test_what_cannot_be_tested_is_said_in_one_message(tmp_path, capsys, arguments, message):
    assert main(["find-learning-rate", "--artifacts", str(tmp_path), *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"), [("rates.png", "must end in .svg"), ("no/rates.svg", "there is no folder")]
)
def test_a_drawing_goes_to_an_svg_file_in_a_folder_that_is_there(tmp_path, capsys, monkeypatch, name, message):
    monkeypatch.setattr("resnet.ledger.Ledger.require_inputs", lambda ledger, stage: None)
    assert main(["find-learning-rate", "--artifacts", str(tmp_path), f"--out={tmp_path / name}"]) == 1
    assert message in capsys.readouterr().err

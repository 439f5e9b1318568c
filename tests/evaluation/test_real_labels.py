"""The error by the ReaL labels, as a setting of the recipe."""

from __future__ import annotations

import json

import numpy as np
import pytest

from resnet.datasets.imagenet import shipped_classes
from resnet.errors import UserError
from resnet.evaluation.real_labels import RealLabels
from resnet.evaluation.views import Seen
from resnet.inference import answers_of
from resnet.run import Run


def a_run(tmp_path, path: str) -> Run:
    return Run.of("digits", [f"evaluation.real_labels={path}"], artifacts=tmp_path)


def test_a_right_answer_is_any_of_the_labels_that_the_file_gives_the_image(tmp_path, capsys):
    labels: list[list[int]] = [[]] * 50_000
    labels[0], labels[1], labels[3] = [7, 8], [5], [1]
    (tmp_path / "real.json").write_text(json.dumps(labels))
    real = RealLabels.of(a_run(tmp_path, str(tmp_path / "real.json")), shipped_classes())
    logits = np.zeros((4, 1000), np.float32)
    logits[[0, 1, 2], [8, 6, 3]] = 1
    logits[3] = np.nan
    files = [f"val/ILSVRC2012_val_{number:08d}.JPEG" for number in (1, 2, 3, 4)]
    found = real.measure(Seen(answers_of(logits, np.zeros(4, np.int32)), files, 0))
    assert (found["images"], found["top1_error"]) == (3, pytest.approx(100 * 2 / 3))  # the third has no label
    assert "66.67 % on the 3 images" in capsys.readouterr().out


def test_without_the_setting_there_are_none(tmp_path):
    assert RealLabels.of(a_run(tmp_path, ""), shipped_classes()) is None


def test_other_classes_than_imagenets_are_refused_with_the_override_that_leaves_it_out(tmp_path):
    with pytest.raises(UserError, match=r"--override evaluation\.real_labels="):
        RealLabels.of(a_run(tmp_path, "real.json"), [("0", "zero")])


def test_the_file_stays_the_same_wherever_the_next_command_is_called_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert a_run(tmp_path, "real.json").recipe.evaluation.real_labels == str(tmp_path / "real.json")

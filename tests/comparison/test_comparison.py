"""Runs beside each other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made_answers import two_classes
from made_runs import MadeRun

from resnet.comparison import compare_runs, read_run
from resnet.comparison.page import render
from resnet.errors import UserError


def compared(artifacts: Path, *names: str):
    return compare_runs([read_run(artifacts, name) for name in names])


def resnet(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "resnet", *map(str, arguments)], capture_output=True, text=True, cwd=cwd
    )


def test_only_the_settings_that_differ_are_listed(artifacts):
    (row,) = compared(artifacts, "good", "bad").settings
    assert (row.name, row.texts) == ("training.learning_rate", ("0.1", "0.2"))


def test_the_errors_have_intervals_and_the_difference_a_test(artifacts):
    found = compared(artifacts, "good", "bad")
    results = {row.name: row.texts for row in found.results}
    assert results["top-1 error"] == ("5.00 %", "50.00 %")
    assert results["95 % interval"][0].startswith("1.38 to 16.5")
    (sentence,) = found.sentences
    assert sentence.startswith(
        "The error of run bad is 45.00 points higher, more than chance explains (McNemar's test, p"
    )
    assert "wrong on 18 that run good gets right" in sentence


def test_every_further_run_is_compared_with_the_first(artifacts):
    shutil.copytree(artifacts / "runs" / "good", artifacts / "runs" / "copy")
    found = compared(artifacts, "good", "bad", "copy")
    assert found.sentences[1] == "run copy and run good are right on the same images."
    assert [len(row.texts) for row in found.results] == [3] * len(found.results)


def test_runs_on_other_images_are_said_to_be_on_other_images(artifacts, tmp_path):
    MadeRun(filenames=["x.jpg", "y.jpg"], name="other", overrides=["dataset.name=others"]).write(artifacts)
    (sentence,) = compared(artifacts, "good", "other").sentences
    assert "cannot be compared with run good image by image: 2 images were evaluated, and here 40" in sentence


def test_settings_of_the_records_differ_too(artifacts):
    MadeRun(filenames=["x.jpg", "y.jpg"], name="other", overrides=["dataset.name=others", "records.seed=7"]).write(
        artifacts
    )
    differing = {row.name: row.texts for row in compared(artifacts, "good", "other").settings}
    assert differing["records.seed"] == ("0", "7")


def test_a_result_in_another_view_is_said_to_be_in_it(artifacts):
    files = [f"{number:02d}.jpg" for number in range(40)]
    MadeRun(filenames=files, logits=two_classes(2), name="ten", first_view="10-crop").write(artifacts)
    (sentence,) = compared(artifacts, "good", "ten").sentences
    assert "run ten (10-crop; run good: 1-crop)" in sentence


def test_a_run_without_an_evaluation_says_what_to_do(artifacts):
    shutil.rmtree(artifacts / "runs" / "bad" / "evaluate")
    with pytest.raises(UserError, match="run bad has not been evaluated: luigi --module pipeline Evaluate"):
        read_run(artifacts, "bad")


def test_text_has_a_column_for_each_run(artifacts):
    lines = compared(artifacts, "good", "bad").lines()
    assert lines[0].split() == ["good", "bad"]
    assert "training.learning_rate  0.1" in "\n".join(lines)
    assert lines[-2] == ""


def test_the_page_draws_the_curves_over_each_other_and_needs_nothing_else(artifacts):
    page = render(compared(artifacts, "good", "bad"))
    assert page.count("<svg") == 3
    assert "good ends at" in page
    assert "bad ends at" in page
    assert not re.search(r'(src|href)="(?!#)', page)


def test_names_from_data_are_escaped_on_the_page(artifacts):
    recipe = artifacts / "runs" / "bad" / "run.json"
    facts = json.loads(recipe.read_text())
    del facts["checksum"]
    recipe.write_text(json.dumps(facts | {"recipe": "<script>alert(1)</script>"}))
    page = render(compared(artifacts, "good", "bad"))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_command_prints_text_or_json_and_writes_the_page(artifacts, tmp_path):
    done = resnet("compare", "good", "bad", "--artifacts", artifacts, "--html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"The page: {tmp_path / 'compare-good-bad.html'}" in done.stdout
    assert (tmp_path / "compare-good-bad.html").stat().st_size > 10_000
    answer = json.loads(resnet("compare", "good", "bad", "--artifacts", artifacts, "--json").stdout)
    assert [run["top1_error"] for run in answer["runs"]] == [5.0, 50.0]
    assert answer["settings"] == {"training.learning_rate": [0.1, 0.2]}


@pytest.mark.parametrize(
    ("names", "words"),
    [(["good"], "give two runs or more"), (["good", "goood"], "did you mean good? The runs there: bad, good.")],
)
def test_names_that_cannot_be_compared_are_one_message(names, words, artifacts):
    done = resnet("compare", *names, "--artifacts", artifacts)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr

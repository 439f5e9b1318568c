"""The real `luigi` command, from images to report."""

import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
from small_runs import SMALL

from resnet.stage_table import STAGES

TITLES = [stage.title for stage in STAGES.values()]


@pytest.fixture(scope="module")
def options(tmp_path_factory, photo_folder) -> list:
    overrides = json.dumps(SMALL)
    artifacts = tmp_path_factory.mktemp("artifacts")
    return [
        "--recipe",
        "imagefolder",
        "--data",
        photo_folder,
        "--artifacts",
        artifacts,
        "--run",
        "photos",
        "--override",
        overrides,
    ]


@pytest.fixture(scope="module")
def first(luigi, options):
    return luigi("FullRun", *options)


@pytest.fixture(scope="module")
def run(first, options) -> Path:
    assert first.returncode == 0, first.stderr
    return options[5] / "runs" / "photos"


def ran(result) -> list[str]:
    """The stages that a call ran, in order: each says first why it runs."""
    said = [line.partition(": starting (") for line in result.stdout.splitlines()]
    return [title for title, starting, reason in said if title in TITLES and starting and reason != ")"]


def test_every_stage_runs_once_and_says_why(first, run):
    assert ran(first) == TITLES
    assert "Train: starting (it has not run yet)" in first.stdout
    assert "FullRun: done; the report is " in first.stdout


def test_each_stage_keeps_what_it_said_in_a_log(run, options):
    said = {name: (run / name / "log-1.txt").read_text() for name in STAGES if name != "convert"}
    said["convert"] = (options[5] / "records" / options[3].name / "log-1.txt").read_text()
    assert "convert: 48 training and 20 validation images" in said["convert"]
    assert "train: ResNet-8" in said["train"]
    assert re.search(r"epoch 1/\d+: loss ", said["train"])
    assert "evaluate: top-1 error" in said["evaluate"]


def test_nothing_says_how_far_a_stage_is_when_it_is_done(run):
    assert list(run.glob("*/progress.json")) == []


def test_the_same_command_again_runs_nothing(luigi, options, run):
    again = luigi("FullRun", *options)
    assert again.returncode == 0
    assert ran(again) == []
    assert "FullRun: up to date; the report is " in again.stdout


def test_the_metrics_are_those_of_the_predictions_with_each_image_once(run):
    metrics = json.loads((run / "evaluate/metrics.json").read_text())
    predictions = pd.read_csv(run / "evaluate/predictions.csv")
    assert metrics["images"] == len(predictions) == predictions["file"].nunique() == 20
    wrong = 100 * (predictions["label"] != predictions["class1"]).mean()
    view = metrics["views"]["1-crop"]
    assert view["top1_error"] == pytest.approx(wrong)
    assert view["top1_error_interval"][0] <= wrong <= view["top1_error_interval"][1]
    assert all(file.startswith("val/") for file in predictions["file"])
    assert all(
        file.split("/")[1] == label for file, label in zip(predictions["file"], predictions["label"], strict=True)
    )


def test_the_report_is_one_page_that_needs_nothing_else(run):
    page = (run / "report/report.html").read_text()

    sources = re.findall(r"""\bsrc=["']([^"']*)""", page)
    assert len(sources) >= 2
    assert all(source.startswith(("data:image/png;base64,", "data:image/webp;base64,")) for source in sources)
    assert (run / "report/figures/augmented.png").read_bytes().startswith(b"\x89PNG")
    assert (run / "report/figures/error.svg").read_text().startswith("<?xml")
    assert "ResNet-8 on" in page


def test_the_links_of_the_report_lead_to_files_beside_it(run):
    page = (run / "report/report.html").read_text()
    links = [link for link in re.findall(r"""\bhref=["']([^"']*)""", page) if not link.startswith("#")]
    assert len(links) >= 8
    assert [link for link in links if not (run / "report" / unquote(link)).is_file()] == []


def test_each_stage_json_says_what_was_done_with_what(run):
    record = json.loads((run / "train/stage.json").read_text())
    assert record["settings"]["training"]["epochs"] == 2
    assert record["seeds"] == {"training.seed": 0}
    (converted,) = (run.parents[1] / "records").glob("*/stage.json")
    assert record["inputs"] == {"convert": json.loads(converted.read_text())["digest"]}
    assert record["packages"]["numpy"]
    assert record["devices"]
    assert record["outputs"]["weights.safetensors"]["size"] == (run / "train/weights.safetensors").stat().st_size
    assert record["start"] < record["end"]


def test_a_deleted_artifact_is_made_again_and_what_depends_on_it_and_nothing_else(luigi, options, run):
    before = (run / "batchnorm/stage.json").stat().st_mtime_ns
    metrics = (run / "evaluate/metrics.json").read_bytes()
    (run / "evaluate/metrics.json").unlink()
    (run / "report/report.html").unlink()
    result = luigi("FullRun", *options)
    assert result.returncode == 0, result.stderr
    assert ran(result) == ["Evaluate", "Report"]
    assert "metrics.json is missing" in result.stdout
    assert (run / "evaluate/metrics.json").read_bytes() == metrics
    assert (run / "batchnorm/stage.json").stat().st_mtime_ns == before


def test_a_lost_shard_is_made_again_and_no_stage_starts_for_the_same_records(luigi, options, run):
    (run.parents[1] / "records" / options[3].name / "train-00001-of-00002").unlink()
    result = luigi("FullRun", *options)
    assert result.returncode == 0, result.stderr
    assert ran(result) == ["ConvertRecords"]
    for title in TITLES[1:]:
        assert f"{title}: up to date" in result.stdout
    assert f"all runs are in {run.parents[1] / 'index.html'}" in result.stdout


def test_a_single_stage_runs_what_is_missing_upstream_and_no_more(luigi, options, run):
    shutil.rmtree(run / "batchnorm")
    result = luigi("BatchNormStatistics", *options)
    assert result.returncode == 0, result.stderr
    assert ran(result) == ["BatchNormStatistics"]
    # The same statistics again: what depends on them is still up to date.
    assert ran(luigi("FullRun", *options)) == []


def test_a_changed_setting_reruns_only_the_stages_that_depend_on_it_and_keeps_the_old_work(luigi, options, run):
    changed = [*options[:-1], json.dumps([*json.loads(options[-1]), "evaluation.shorter_side=16"])]
    result = luigi("FullRun", *changed)
    assert result.returncode == 0, result.stderr
    assert ran(result) == ["Evaluate", "Report"]
    assert "evaluation.shorter_side was 20, now 16" in result.stdout
    (kept,) = (run.parents[1] / "trash").glob("*-photos-evaluate")
    assert (kept / "predictions.csv").exists()

"""What the page of all runs says, and to whom."""

from __future__ import annotations

import json
import os
import re
import shutil
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from ledgers import begin, finish_all, ledger_in

from resnet.inventory import State
from resnet.ledger.state_files import read_state, write_state
from resnet.locks import locked
from resnet.runs_page.page import render

HOSTILE = [
    "<script>alert(1)<",
    "caf\udce9",
    "x" * 200,
    "\u202eright to left",
    '" onclick="x',
    "{{ 7777 * 7 }}",
    "a\nb",
    "%2e",
    "..css?#",
]


class Elements(HTMLParser):
    """All elements of a page with their attributes, and the text outside of the style sheet."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._in_style = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag):
        self._in_style = False

    def handle_data(self, data):
        self.text += "" if self._in_style else data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def words(artifacts: Path) -> str:
    return " ".join(Elements(render(artifacts)).text.split())


def linked(artifacts: Path) -> set[str]:
    """The files that the page leads to, by their names in the artifacts folder. All of them must be there."""
    names = [link["href"] for link in Elements(render(artifacts)).of("a") if not link["href"].startswith("#")]
    paths = [os.fsencode(artifacts) + b"/" + unquote_to_bytes(name) for name in names]
    assert all(map(os.path.exists, paths))
    return {os.fsdecode(path).removeprefix(f"{artifacts}/") for path in paths}


def test_each_state_has_a_colour_of_its_class(artifacts):
    page = render(artifacts)
    assert [state.value for state in State if not re.search(rf"\.{state.value}\b[^{{}}]*{{ color: ", page)] == []


def test_a_finished_run_has_its_error_with_interval_its_network_and_its_data(artifacts):
    page = words(artifacts)
    assert "1 run: 1 finished. 1 data set." in page
    for expected in (
        "ResNet-20 at 32 pixels",
        "recipe digits",
        "1.25 % 0.50 to 2.75 1-crop",
        "40 epochs in 2 min 00 s",
    ):
        assert expected in page
    assert "1,438 for training, 359 for validation" in page
    assert "train: finished" in page
    assert "luigi --module" not in page


def test_every_view_has_its_error_in_the_order_of_the_evaluation(artifacts):
    path = artifacts / "runs" / "digits" / "evaluate" / "stage.json"
    record = read_state(path)
    views = record["metrics"]["views"]
    record["metrics"]["views"] = {"10-crop": views["1-crop"] | {"top1_error": 0.875}} | views
    write_state(path, record)
    assert re.search(r"0\.88 % 0\.50 to 2\.75 10-crop 1\.25 % 0\.50 to 2\.75 1-crop", words(artifacts))


def test_links_lead_to_the_files_of_a_run_that_are_there(artifacts):
    run, records = "runs/digits", "records/digits"
    assert linked(artifacts) == {
        f"{run}/report/report.html",
        f"{run}/evaluate/predictions.csv",
        f"{run}/evaluate/predictions-10-crop.csv",
        f"{run}/batchnorm/weights.safetensors",
        f"{run}/train/log.jsonl",
        f"{run}/recipe.toml",
        f"{run}/export/onnx/",
        f"{records}/rejected.csv",
        f"{records}/ignored.csv",
    }
    (artifacts / run / "report" / "report.md").touch()
    (artifacts / run / "batchnorm" / "weights.safetensors").unlink()
    assert {f"{run}/report/report.md", f"{run}/train/weights.safetensors"} < linked(artifacts)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_breaks_the_page_or_a_link(artifacts, name):
    for folder in ("runs", "records"):
        shutil.copytree(artifacts / folder / "digits", artifacts / folder / name)
    (artifacts / "runs" / name / "recipe.toml").rename(artifacts / "runs" / name / "recipe.txt")
    page = render(artifacts)
    page.encode("utf-8")
    elements = Elements(page)
    assert not elements.of("script")
    assert not any("onclick" in attributes for _, attributes in elements.found)
    assert "54439" not in elements.text
    assert f"runs/{name}/report/report.html" in linked(artifacts)


def test_what_is_wrong_with_a_run_is_in_its_row_and_the_others_are_shown(artifacts):
    shutil.copytree(artifacts / "runs" / "digits", artifacts / "runs" / "broken")
    (artifacts / "runs" / "broken" / "evaluate" / "stage.json").write_text("{")
    (artifacts / "runs" / "of nobody").mkdir()
    page = words(artifacts)
    assert "3 runs: 1 finished, 2 unreadable." in page
    assert "runs/broken/evaluate/stage.json is corrupt" in page
    assert "runs/of nobody is not the folder of a run: it has no recipe.toml" in page
    assert "1.25 %" in page


def test_the_page_asks_to_be_loaded_again_only_while_something_is_running(artifacts):
    def refreshes() -> bool:
        return any(meta.get("http-equiv") == "refresh" for meta in Elements(render(artifacts)).of("meta"))

    assert not refreshes()
    folder = begin(ledger_in(artifacts, name="second"), "train").folder
    assert not refreshes()
    with locked(folder):
        assert refreshes()
        assert "running: Train" in words(artifacts)
    begin(ledger_in(artifacts, "dataset.name=other"), "convert")
    with locked(artifacts / "records" / "other", shared=True):  # parts of it are being made
        assert refreshes()


@pytest.mark.parametrize(("ago", "expected"), [(5, True), (120, False)])
def test_the_page_asks_to_be_loaded_again_between_two_stages_of_a_run(artifacts, ago, expected):
    for stage in ("evaluate", "report"):
        shutil.rmtree(artifacts / "runs" / "digits" / stage)
    path = artifacts / "runs" / "digits" / "batchnorm" / "stage.json"
    for other in (artifacts / "records" / "digits", artifacts / "runs" / "digits" / "train"):
        write_state(other / "stage.json", read_state(other / "stage.json") | {"end": "2026-01-01T00:00:00+00:00"})
    end = datetime.now(timezone.utc) - timedelta(seconds=ago)
    write_state(path, read_state(path) | {"end": end.isoformat()})
    assert ('http-equiv="refresh"' in render(artifacts)) is expected


def test_one_epoch_is_not_called_epochs(tmp_path):
    ledger = finish_all(ledger_in(tmp_path))
    line = {"step": 5, "epoch": 1.0, "loss": 1.0, "top1_error": 9.0, "top5_error": 1.0, "learning_rate": 0.1}
    line |= {"images_per_second": 10.0, "data_wait": 0.0, "seconds": 3.0}
    (ledger.run.stage_folder("train") / "log.jsonl").write_text(json.dumps(line) + "\n")
    assert "1 epoch in 3 s" in words(tmp_path)


def test_a_training_shows_how_far_it_is_and_how_long_it_may_take(artifacts):
    folder = begin(ledger_in(artifacts, name="second"), "train").folder
    (folder / "log.jsonl").write_bytes(
        b"".join((artifacts / "runs/digits/train/log.jsonl").read_bytes().splitlines(keepends=True)[:10])
    )
    page = words(artifacts)
    assert "validation error 60 to 6 % 10 of 40 epochs in 30 s" in page
    assert "left" not in page
    assert "luigi --module pipeline FullRun --local-scheduler --run second" in page
    with locked(folder):
        page = words(artifacts)
    assert "10 of 40 epochs in 30 s about 1 min 30 s left" in page
    assert "luigi --module" not in page


def test_a_stale_result_is_shown_as_one(artifacts):
    (artifacts / "runs" / "digits" / "evaluate" / "stale.txt").touch()
    page = words(artifacts)
    assert "stale: Evaluate, Report" in page
    assert "stale: of earlier results" in page
    assert "report: evaluate is stale" in page


def test_the_curve_says_in_words_what_it_shows(artifacts):
    (drawn,) = Elements(render(artifacts)).of("svg")
    assert drawn["role"] == "img"
    assert drawn["aria-label"] == "Validation error fell from 60 % at epoch 1 to 1.5 % at epoch 40."


def test_tables_can_be_heard_cell_by_cell(artifacts):
    elements = Elements(render(artifacts))
    assert len(elements.of("caption")) == len(elements.of("table")) == 2
    assert all(header.get("scope") in ("row", "col") for header in elements.of("th"))
    assert all(cell.get("data-label") for cell in elements.of("td"))
    identifiers = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    inside = {link["href"][1:] for link in elements.of("a") if link["href"].startswith("#")}
    assert inside == set(identifiers)


def test_the_page_needs_nothing_but_itself(artifacts):
    page = render(artifacts)
    assert not re.search(r"<(script|link|img|iframe)|src=|url\(|@import", page)
    assert all(":" not in link["href"] for link in Elements(page).of("a"))


def test_a_folder_without_runs_says_how_to_start_one(tmp_path):
    page = words(tmp_path)
    assert "There is no run yet" in page
    assert "luigi --module pipeline FullRun --local-scheduler" in page
    assert "unreadable" not in page

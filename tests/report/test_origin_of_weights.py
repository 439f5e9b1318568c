"""Where the weights of a run come from, in its report."""

from __future__ import annotations

import re

import pytest

from resnet.errors import UserError
from resnet.ledger.state_files import read_state, write_state
from resnet.report.content import content_of
from resnet.report.page import Drawings, render
from resnet.report.tables import Analysis
from resnet.stages.report import draw

IMPORTED = {"file": "/weights/<resnet>.safetensors", "sha256": "ab" * 32}


@pytest.fixture
def page_with(made_run, results_of):
    """page_with(imported=...): the text of a made run's page, whose training has these facts besides."""

    def make(**facts) -> str:
        ledger = made_run()
        state = ledger.run.stage_folder("train") / "stage.json"
        write_state(state, read_state(state) | facts)
        results = results_of(ledger)
        analysis = Analysis.of(results)
        content = content_of(results, analysis)
        drawings = draw(results, analysis, content) if "imported" in facts else Drawings()
        page = render(content, drawings)
        return " ".join(re.sub("<(?!img)[^>]*>", " ", page).split())

    return make


def test_a_run_of_imported_weights_names_their_file_and_shows_no_training(page_with):
    page = page_with(imported=IMPORTED)
    assert "/weights/&lt;resnet&gt;.safetensors" in page
    assert "ab" * 32 in page
    assert "weights, not trained here" in page
    for absent in (
        "of training:",
        "Learning rate",
        "Top-1 error fell",
        "Speed",
        "What the network sees",
        "images per step",
        "Devices",
    ):
        assert absent not in page


def test_a_fine_tuned_run_says_what_it_started_from(page_with):
    started = {"file": "/weights/a&b.safetensors", "sha256": "cd" * 32, "layout": "Keras", "taken": [], "new": []}
    assert f"/weights/a&amp;b.safetensors, SHA-256 {'cd' * 8}...; with its classifier" in page_with(
        started_from=started
    )


def test_a_run_that_started_from_another_one_names_it(page_with):
    started = {"run": "pretrained", "sha256": "cd" * 32, "layout": "this project", "taken": [], "new": ["classifier"]}
    assert "run pretrained, SHA-256 cdcdcdcdcdcdcdcd...; new classifier" in page_with(started_from=started)


def test_facts_that_are_not_whole_are_one_message(page_with):
    with pytest.raises(UserError, match=r"train/stage\.json cannot be used: imported\.sha256"):
        page_with(imported={"file": "a"})

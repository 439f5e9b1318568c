"""The report stage on made runs: names that nothing can break, and damaged files."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from made_runs import scattered_logits

from resnet.errors import UserError
from resnet.ledger import Attempt, Ledger
from resnet.ledger.state_files import read_state, write_state
from resnet.records.example import LabelledImage
from resnet.records.shards import Shard, ShardedRecords
from resnet.report.class_figures import confusion_figure
from resnet.report.galleries import validation_gallery
from resnet.report.page import Drawings, render
from resnet.stages import report

# Folder names as os.fsdecode gives them; the first two differ in a byte that is not UTF-8.
CLASSES = [
    "caf\udce8",
    "caf\udce9",
    "$a$",
    r"$\frac$",
    "</svg><script>alert(1)</script>",
    '"double" \'single\' onload="x"',
    "x" * 300,
    "\u202eright to left שלום",
    "👾",
    "bell\x07 and escape\x1b[31m",
    "&amp; {{ 7 * 7 }}",
    "",
]
FILENAMES = [f"val/{number}/{name}\n\r.jpg" for number, name in enumerate(CLASSES + CLASSES[:2])]


def reported(ledger: Ledger) -> str:
    """The page of the real report stage; its bytes must be UTF-8."""
    attempt = Attempt(ledger, "report")
    report.main(ledger.run, attempt)
    return (attempt.folder / "report.html").read_bytes().decode("utf-8")


@pytest.fixture
def without_drawings(monkeypatch) -> None:
    """Figures and galleries take most of the time, and some tests look at none."""
    monkeypatch.setattr(report, "draw", lambda *_: Drawings())


def confusions(page: str) -> list[tuple[str, str]]:
    return re.findall(r'<td class="name"><bdi>([^<]*)</bdi></td><td class="name"><bdi>([^<]*)</bdi></td>', page)


def test_no_name_breaks_the_report(made_run):
    ledger = made_run(CLASSES, FILENAMES)
    page = reported(ledger)
    assert "<script" not in page
    assert "&lt;/svg&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert page.count("<svg") == page.count("</svg>") > 3
    assert "\u202e" not in page  # it would turn the direction of what follows
    folder = ledger.run.stage_folder("report")
    for gallery in ("augmented", "mistakes"):
        assert (folder / "figures" / f"{gallery}.png").read_bytes().startswith(b"\x89PNG")
    stated = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert {row["name"] for row in stated["classes"]["worst"]} >= {"$a$", "x" * 300, "👾", "caf\ufffd"}
    assert r"\<script\>" in (folder / "report.md").read_text(encoding="utf-8")


def test_classes_that_look_alike_are_counted_apart(made_run, stated, without_drawings):
    ledger = made_run(CLASSES[:2], FILENAMES[:3])
    rows = stated(ledger).classes.confused
    assert [(row["label"], row["predicted"], row["images"]) for row in rows] == [
        ("caf\udce8", "caf\udce9", 2),
        ("caf\udce9", "caf\udce8", 1),
    ]
    page = reported(ledger)
    assert confusions(page) == [("caf\ufffd", "caf\ufffd")] * 2
    assert "2 classes" in page


def test_a_name_between_dollars_is_no_formula(made_run, stated, results_of):
    ledger = made_run(["$a$", "$b$"])
    drawing = confusion_figure(results_of(ledger).images, ["$a$", "$b$"], stated(ledger).classes)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawing.svg)
    assert texts.count("$a$") == texts.count("$b$") == 2  # at both axes


def test_a_class_without_a_name_is_shown_by_its_identifier(made_run, stated):
    ledger = made_run(["n1", "n2"])
    (ledger.run.records / "classes.txt").write_text("n1\ta bird\nn2\t\n")
    assert {row["name"] for row in stated(ledger).classes.worst} == {"a bird", "n2"}


def test_one_class_and_one_image_have_a_report(made_run):
    page = reported(made_run(["cat"], ["a.jpg"]))
    assert "There is one class only" in page
    assert "no better than chance" in page


def test_many_classes_are_shown_by_the_worst_and_the_best_of_them(made_run, without_drawings):
    names = [f"class {number}" for number in range(21_841)]
    logits = scattered_logits(np.arange(3), len(names), right=1.0)
    page = reported(made_run(names, ["a", "b", "c"], logits=logits))
    assert len(page) < 1_000_000
    assert "21,841 classes" in page
    assert "21,838 classes have no validation image" in page


def change(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"dog", b"d\xffg", r"line \d has the class 'd\\udcffg', which the records do not have"),
        (b"0.75", b"high", "line 2 has 'high' where a probability should be"),
        (b",probability2", b"", "its columns are"),
        (b"a.jpg,cat,dog,0.75,cat,0.25\n", b"", "has 1 images, but 2 were evaluated"),
    ],
)
def test_a_damaged_table_of_predictions_stops_the_report_with_one_message(made_run, old, new, message):
    ledger = made_run()
    table = ledger.run.stage_folder("evaluate") / "predictions.csv"
    change(table, old, new)
    with pytest.raises(UserError, match=message) as error:
        reported(ledger)
    assert str(table) in str(error.value)
    assert str(error.value).endswith("Delete it: then `luigi` runs Evaluate again.")


def test_a_stage_file_without_a_key_stops_the_report_with_one_message(made_run):
    ledger = made_run()
    path = ledger.run.stage_folder("evaluate") / "stage.json"
    record = read_state(path)
    del record["metrics"]["views"]["1-crop"]["top5_error"]
    write_state(path, record)
    with pytest.raises(UserError, match=r"metrics\.views\.1-crop\.top5_error: field required") as error:
        reported(ledger)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("corrupt", "the record at byte 0 is corrupt: its checksum does not match. To repair the shard, delete it"),
        ("no image", "the record at byte 0 is corrupt: OpenCV cannot decode it"),
        ("missing", "cannot read .* at byte 0: No such file or directory. To repair the shard, delete it"),
        ("a broken link", "No such file or directory. The shard is a link to .*elsewhere: get that file again"),
    ],
)
def test_a_record_that_cannot_be_shown_stops_the_report_with_the_shard_and_the_byte(made_run, stated, damage, message):
    ledger = made_run()
    run = ledger.run
    mistakes = stated(ledger).mistakes
    (path,) = ShardedRecords(run.records, "validation").shards
    if damage == "corrupt":
        change(path, b"IDAT", b"IDAX")
    elif damage == "no image":
        images = [LabelledImage(b"no image", "PNG", 1, 1, label, "", "", "") for label in (0, 1)]
        Shard(run.records, path.name).write(images)
    else:
        path.unlink()
        if damage == "a broken link":
            path.symlink_to(run.records / "elsewhere")
    with pytest.raises(UserError, match=message) as error:
        validation_gallery("mistakes", run, mistakes, 2, taken="taken for")
    assert str(path) in str(error.value)


def test_other_records_than_were_evaluated_stop_the_report_with_one_message(made_run, stated):
    ledger = made_run()
    run, mistakes = ledger.run, stated(ledger).mistakes
    (path,) = ShardedRecords(run.records, "validation").shards
    Shard(run.records, path.name).write([LabelledImage(b"", "PNG", 1, 1, 0, "", "", "")])
    with pytest.raises(UserError, match=f"{run.records} has 1 validation records, but 2 were evaluated"):
        validation_gallery("mistakes", run, mistakes, 2, taken="taken for")


def test_the_page_says_how_many_lines_of_the_log_cannot_be_read(made_run, stated):
    ledger = made_run()
    assert "cannot be read" not in render(stated(ledger), Drawings())
    log = ledger.run.stage_folder("train") / "log.jsonl"
    log.write_text(log.read_text() + "{\n" * 3)
    assert "3 lines of the training log cannot be read." in html.unescape(render(stated(ledger), Drawings()))


def test_the_page_says_that_the_log_has_changed_since_training(made_run, capsys, without_drawings):
    ledger = made_run()
    log = ledger.run.stage_folder("train") / "log.jsonl"
    path = log.with_name("stage.json")
    written = {"size": log.stat().st_size, "sha256": "of what training wrote", "byproduct": True}
    write_state(path, read_state(path) | {"outputs": {"log.jsonl": written}})
    assert "The training log has changed since training." in reported(ledger)
    assert f"{log} has changed since training" in capsys.readouterr().err

"""The report stage on made runs: names that nothing can break, and damaged files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from matplotlib.text import Text

from resnet.errors import UserError
from resnet.ledger import Attempt, Ledger
from resnet.ledger.state_files import read_state, write_state
from resnet.predictions_file import read_predictions
from resnet.records.example import LabelledImage
from resnet.records.shards import Shard, ShardedRecords
from resnet.report import figures
from resnet.report.page import Results, render
from resnet.stage_table import STAGES
from resnet.stages import report

# Folder names as os.fsdecode gives them; the first two differ in a byte that is not UTF-8.
CLASSES = [
    "caf\udce8",
    "caf\udce9",
    "$a$",
    r"$\frac$",
    "<script>alert(1)</script>",
    "\"double\" 'single'",
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


def confusions(page: str) -> list[tuple[str, str]]:
    return re.findall(r'<td class="name">([^<]*)</td><td class="name">([^<]*)</td>', page)


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
def test_no_name_breaks_the_report(made_run):
    ledger = made_run(CLASSES, FILENAMES)
    page = reported(ledger)
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    for figure in ("augmented", "confusion", "mistakes"):
        drawn = ledger.run.stage_folder("report") / "figures" / f"{figure}.png"
        assert drawn.read_bytes().startswith(b"\x89PNG")


def test_classes_that_look_alike_are_counted_apart(made_run, monkeypatch):
    ledger = made_run(CLASSES[:2], FILENAMES[:3])
    drawn = []
    monkeypatch.setattr(figures, "_save", lambda figure, path: drawn.append(figure.axes[0]))
    predictions = read_predictions(ledger.run.stage_folder("evaluate") / "predictions.csv", CLASSES)
    assert figures.confusion_matrix(predictions, Path("confusion.png"))
    assert [label.get_text() for label in drawn[0].get_yticklabels()] == ["caf\ufffd", "caf\ufffd"]
    assert {text.get_position(): text.get_text() for text in drawn[0].texts} == {(1, 0): "2", (0, 1): "1"}
    monkeypatch.undo()
    page = reported(ledger)
    assert confusions(page) == [("caf\ufffd", "caf\ufffd")] * 2
    assert "2 classes" in page


def test_a_name_between_dollars_is_no_formula(made_run, monkeypatch):
    ledger = made_run(["$a$", "$b$"])
    drawn = []
    monkeypatch.setattr(figures, "_save", lambda figure, path: drawn.append(figure))
    results = Results(ledger.run, {stage: ledger.finished(stage) for stage in STAGES["report"].inputs})
    report.draw(results, ledger.run.folder)
    texts = [text for figure in drawn for text in figure.findobj(Text) if re.search(r"\$[ab]\$", text.get_text())]
    assert len(texts) >= 4 + 2 + 8  # of the matrix's axes, the mistakes, and the augmented images
    assert not any(text.get_parse_math() for text in texts)


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
def test_a_record_that_cannot_be_shown_stops_the_report_with_the_shard_and_the_byte(made_run, damage, message):
    run = made_run().run
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
    predictions = read_predictions(run.stage_folder("evaluate") / "predictions.csv", ["cat", "dog"])
    with pytest.raises(UserError, match=message) as error:
        figures.mistakes(run, predictions, run.folder / "mistakes.png")
    assert str(path) in str(error.value)


def test_other_records_than_were_evaluated_stop_the_report_with_one_message(made_run):
    run = made_run().run
    (path,) = ShardedRecords(run.records, "validation").shards
    Shard(run.records, path.name).write([LabelledImage(b"", "PNG", 1, 1, 0, "", "", "")])
    predictions = read_predictions(run.stage_folder("evaluate") / "predictions.csv", ["cat", "dog"])
    with pytest.raises(UserError, match=f"{run.records} has 1 validation records, but 2 were evaluated"):
        figures.mistakes(run, predictions, run.folder / "mistakes.png")


def test_the_page_says_how_many_lines_of_the_log_cannot_be_read(made_run):
    ledger = made_run()
    results = Results(ledger.run, {stage: ledger.finished(stage) for stage in STAGES["report"].inputs})
    assert "training log" not in render(results, {})
    results.unreadable_log_lines = 3
    assert "3 lines of the training log cannot be read." in render(results, {})


def test_the_page_says_that_the_log_has_changed_since_training(made_run, capsys):
    ledger = made_run()
    log = ledger.run.stage_folder("train") / "log.jsonl"
    path = log.with_name("stage.json")
    written = {"size": log.stat().st_size, "sha256": "of what training wrote", "byproduct": True}
    write_state(path, read_state(path) | {"outputs": {"log.jsonl": written}})
    assert "The training log has changed since training." in reported(ledger)
    assert f"{log} has changed since training" in capsys.readouterr().err

"""python -m resnet predict."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from resnet import console
from resnet.__main__ import main
from resnet.predictions_file import read_predictions

HOSTILE = (
    "new\nline.jpg",
    "esc\x1b[2J.jpg",
    'quo"te,;\\.jpg',
    "bad\udcff.jpg",
    "\u202egpj.jpg",
    "del\x7f.jpg",
    "写真.jpg",
)


@pytest.fixture
def predict(evaluated, capsys) -> Callable[..., tuple[int, str, str]]:
    """predict("a.jpg", "--json"): exit code, standard output and standard error of the command on the evaluated run."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["predict", "--run", evaluated.name, "--artifacts", str(evaluated.artifacts), *arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def hostile(tmp_path, image_files) -> list[str]:
    """Paths of images with all that a name can hold."""
    paths = [str(tmp_path / name) for name in HOSTILE]
    for path in paths:
        Path(path).write_bytes(image_files["JPEG"])
    return paths


def test_a_folder_is_answered_as_evaluate_answered_it_in_the_order_of_its_names(predict, evaluated):
    code, out, err = predict(str(evaluated.data / "val"), "--json")
    answers = [json.loads(line) for line in out.splitlines()]
    assert (code, err.count("\n")) == (0, 1)
    assert f"warning: predict: {evaluated.data}/val/cat/repaired.jpg: decoded with repairs (libjpeg" in err
    table = read_predictions(evaluated.stage_folder("evaluate") / "predictions.csv", ["cat", "dog", "zebra_finch"])
    expected = {str(evaluated.data / row.file): row for row in table.itertuples()}
    assert [answer["file"] for answer in answers] == sorted(expected)
    for answer in answers:
        row, best = expected[answer["file"]], answer["top"][0]
        assert best["class"] == row.class1
        assert best["probability"] == pytest.approx(row.probability1, abs=5e-6)


def test_files_and_folders_are_answered_in_the_order_given(predict, photographs):
    first, folder = str(photographs / "dog" / "WebP.img"), str(photographs / "zebra_finch")
    _, out, _ = predict(first, folder, first, "--json", "--top", "1")
    files = [json.loads(line)["file"] for line in out.splitlines()]
    assert files == [first, *(f"{folder}/{i}.jpg" for i in range(5)), first]


def test_an_unreadable_image_is_named_the_others_are_done_and_the_exit_code_is_1(predict, photographs, tmp_path):
    good = str(photographs / "cat" / "0.jpg")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "note.txt").write_text("no image")
    code, out, err = predict("missing.jpg", str(tmp_path), good)
    assert code == 1
    assert len(out.splitlines()) == 1
    assert "cat/0.jpg" in out
    assert err.splitlines() == [
        "error: missing.jpg: No such file or directory",
        f"error: {tmp_path}/empty.jpg: the file is empty",
        "ignored files that are no images: 1 .txt file",
        "error: 2 of 3 images could not be read",
    ]


def test_a_folder_without_images_is_an_error(predict, tmp_path):
    assert predict(str(tmp_path), "--json")[:2] == (
        1,
        json.dumps({"file": str(tmp_path), "error": "there is no image in this folder"}) + "\n",
    )


def test_json_and_csv_are_one_valid_line_an_image_whatever_is_in_its_name(predict, hostile):
    _, out, _ = predict(*hostile, "no\nsuch\x1b.jpg", "--json")
    lines = out.splitlines()
    assert [json.loads(line)["file"] for line in lines] == [*hostile, "no\nsuch\x1b.jpg"]
    assert set(json.loads(lines[-1])) == {"file", "error"}
    assert all(line.isascii() and line.isprintable() for line in lines)

    _, out, _ = predict(*hostile, "no\nsuch\x1b.jpg", "--csv", "--top", "2")
    header, *rows = list(csv.reader(io.StringIO(out), strict=True))
    assert header == ["file", "class1", "name1", "probability1", "class2", "name2", "probability2", "error"]
    assert len(rows) == len(out.splitlines()) - 1 == len(hostile) + 1
    assert [row[0].encode().decode("unicode_escape") for row in rows[:6]] == hostile[:6]
    assert rows[-1] == ["no\\nsuch\\x1b.jpg", "", "", "", "", "", "", "No such file or directory"]
    assert all(line.isprintable() for line in out.splitlines())


def test_text_is_one_line_of_80_columns_an_image_without_a_control_character(predict, hostile, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = predict(*hostile, "no\nsuch\x1b.jpg")
    assert code == 1
    assert len(out.splitlines()) == len(hostile)
    assert all(line.isprintable() and len(line) <= 80 for line in out.splitlines())
    assert "error: no\\nsuch\\x1b.jpg: No such file or directory\n" in err


def test_a_terminal_of_another_encoding_shows_what_it_lacks_by_its_code(predict, hostile, monkeypatch):
    ascii_only = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    assert predict(hostile[-1])[0] == 0
    ascii_only.flush()
    assert b"\\u5199\\u771f.jpg   " in ascii_only.buffer.getvalue()


def with_input(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_standard_input_is_an_image_or_a_list_of_names(predict, photographs, monkeypatch):
    image = photographs / "cat" / "0.jpg"
    _, expected, _ = predict(str(image), "--json")
    with_input(monkeypatch, image.read_bytes())
    assert predict("-", "--json")[1] == expected.replace(str(image), "-")
    for end in ("\n", "\0"):
        with_input(monkeypatch, f"{image}{end}{end}{image}".encode())
        assert predict("-", "--json")[1] == 2 * expected


def test_empty_standard_input_is_an_error(predict, monkeypatch):
    with_input(monkeypatch, b"")
    assert predict("-")[::2] == (
        1,
        "error: -: standard input is empty\nerror: 1 of 1 images could not be read\n",
    )


def test_a_reader_that_has_read_enough_ends_the_work_quietly(predict, photographs, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    endless = io.TextIOWrapper(io.BytesIO(f"{photographs / 'cat' / '0.jpg'}\n".encode() * 100_000))
    monkeypatch.setattr(sys, "stdin", endless)
    with open(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", console.dropping(pipe))
        code, _, err = predict("-")
    assert (code, err) == (0, "")
    assert endless.buffer.read1(1)  # the list was not read to its end


def test_an_unknown_run_is_an_error_with_the_nearest_name_and_all_names(evaluated, capsys):
    asked = ["predict", "a.jpg", "--artifacts", str(evaluated.artifacts)]
    assert main([*asked, "--run", "imagefoldr"]) == 1
    assert capsys.readouterr().err == (
        f"error: there is no run 'imagefoldr' in {evaluated.artifacts}/runs; did you mean imagefolder? "
        "The runs there: imagefolder.\n"
    )
    assert main([*asked, "--run", "../runs/imagefolder"]) == 1
    assert main(["predict", "a.jpg", "--run", "x", "--artifacts", str(evaluated.data)]) == 1
    assert "There is none: train one, or give --artifacts." in capsys.readouterr().err


def test_an_unfinished_run_is_an_error_with_the_command_that_finishes_it(evaluated, tmp_path, capsys):
    shutil.copytree(evaluated.folder, tmp_path / "runs" / "half", ignore=shutil.ignore_patterns("batchnorm"))
    assert main(["predict", "a.jpg", "--run", "half", "--artifacts", str(tmp_path)]) == 1
    way_on = f"luigi --module pipeline BatchNormStatistics --local-scheduler --run half --artifacts {tmp_path}\n"
    assert capsys.readouterr().err == f"error: run half has no finished weights yet. Finish it: {way_on}"


@pytest.mark.parametrize("option", ["--top=0", "--workers=-1"])
def test_numbers_that_make_no_sense_are_refused(predict, option):
    code, _, err = predict("a.jpg", option)
    assert (code, err) == (1, "error: --top must be at least 1, and --workers cannot be negative\n")


def test_ctrl_c_ends_the_command_at_once_with_130_while_it_waits_for_names(evaluated, photographs):
    command = [sys.executable, "-m", "resnet", "predict", "-", "--json", "--run", evaluated.name]
    process = subprocess.Popen(
        [*command, "--artifacts", evaluated.artifacts],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # `communicate` must find what `readline` leaves
    )
    process.stdin.write(f"{photographs / 'cat' / '0.jpg'}\nmissing.jpg\n".encode() * 100)
    first = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, err) == (130, b"error: predict was interrupted\n")
    assert first[0]["top"]
    assert first[1] == {"file": "missing.jpg", "error": "No such file or directory"}
    assert all(json.loads(line) for line in out.splitlines())

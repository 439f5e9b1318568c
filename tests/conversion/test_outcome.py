"""What a conversion reports."""

from __future__ import annotations

from resnet.conversion.outcome import Outcome
from resnet.datasets.source import FileNames

SUMMARY = {"records": 1, "rejected": [], "decode_warnings": [], "left_whole": {}}


def test_a_shard_of_an_earlier_version_is_not_said_to_have_its_pixels_unchanged(tmp_path, capsys):
    shards = {
        "train-00000-of-00002": SUMMARY | {"converted": {"WebP": 2}},
        "train-00001-of-00002": SUMMARY | {"converted": {"BMP": 1}, "reduced": {"CMYK to RGB": 3}},
    }
    outcome = Outcome(shards, {})
    outcome.print(tmp_path)
    assert outcome.converted == {"BMP": 1}
    output = capsys.readouterr().out
    assert "1 stored as PNG, pixels unchanged: BMP\n" in output
    assert "3 images reduced: CMYK to RGB\n" in output
    assert "2 images reduced: perhaps, which an earlier version did not say: WebP\n" in output


def test_of_many_kinds_of_ignored_files_the_most_frequent_are_printed(tmp_path, capsys):
    ignored = {f".{kind} file": FileNames(f"{i}.{kind}" for i in range(kind)) for kind in range(1, 16)}
    Outcome({}, ignored).print(tmp_path)
    output = capsys.readouterr().out
    assert "15 ignored (.15 file): 0.15, 1.15, 2.15 ...\n" in output
    assert ".5 file" not in output
    assert "5 more kinds are ignored; all that is ignored is listed in" in output


def test_an_ignored_name_that_is_not_utf_8_or_has_a_line_break_is_printed_on_one_line(tmp_path, capsys):
    Outcome({}, {"other file": FileNames(["caf\udce9", "a\nb", "café"])}).print(tmp_path)
    line = capsys.readouterr().out.splitlines()[1]
    assert line == r"convert: 3 ignored (other file): 'caf\udce9', 'a\nb', café"

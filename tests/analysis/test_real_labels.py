"""ReaL labels: several right answers, or none, for each of ImageNet's validation images."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from resnet.analysis.real_labels import read_real_labels, real_label_error
from resnet.errors import UserError

NAME = "ILSVRC2012_val_{:08d}.JPEG"


@pytest.fixture(scope="module")
def real_labels() -> list[list[int]]:
    """Image i + 1 has no label, one, or two."""
    return [[[], [i % 1000], [i % 1000, (i + 1) % 1000]][i % 3] for i in range(50_000)]


def test_the_file_is_read_as_it_is(tmp_path, real_labels):
    (tmp_path / "real.json").write_text(json.dumps(real_labels))
    assert read_real_labels(tmp_path / "real.json") == real_labels


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"{}", "it holds a dict, not a list of 50,000"),
        (b"[[1]]", "it holds a list of 1, not a list of 50,000"),
        (b"[" + b"[3]," * 49_999 + b'["3"]]', r"entry 50,000 is \['3'\], not a list of numbers from 0 to 999"),
        (b"[" + b"[3]," * 49_999 + b"[1000]]", r"entry 50,000 is \[1000\]"),
        (b"[" + b"[3]," * 49_999 + b"[-1]]", r"entry 50,000 is \[-1\]"),
        (b"[" + b"[3]," * 49_999 + b"[true]]", r"entry 50,000 is \[True\]"),
        (b"[" + b"[3]," * 49_999 + b"[NaN]]", r"entry 50,000 is \[nan\]"),
        (b"[" + b"[3]," * 49_999 + b"7]", "entry 50,000 is 7"),
    ],
)
def test_any_other_file_is_one_message(tmp_path, content, what):
    path = tmp_path / "real.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=what) as error:
        read_real_labels(path)
    assert str(error.value).startswith(f"{path} is not the file of ReaL labels: ")
    assert "evaluation.real_labels" in str(error.value)


@pytest.mark.parametrize("name", ["missing.json", ""])
def test_a_missing_file_or_a_folder_is_one_message(tmp_path, name):
    with pytest.raises(UserError, match=r"cannot be read: (No such file|Is a directory)"):
        read_real_labels(tmp_path / name)


def test_any_of_the_labels_is_right_and_images_without_one_do_not_count(real_labels):
    numbers = [3, 1, 5, 2, 4, 6, 9]  # the images in the order of the records
    answers = np.array([3, 0, 4, 7, 0, 5, -1])
    found = real_label_error([f"val/{NAME.format(number)}" for number in numbers], answers, real_labels)
    # 3: of [2, 3]; 1: none; 5: of [4]; 2: not of [1]; 4: none; 6: of [5, 6]; 9: unanswered.
    assert found.images == 5
    assert found.top1_error == pytest.approx(40)
    interval = binomtest(2, 5).proportion_ci(0.95, method="wilson")
    assert found.top1_error_interval == pytest.approx((100 * interval.low, 100 * interval.high))


@pytest.mark.parametrize("name", ["cat.jpg", NAME.format(0), NAME.format(50_001), NAME.format(7) + ".png", ""])
def test_other_images_are_one_message(real_labels, name):
    with pytest.raises(UserError, match=r"evaluation\.real_labels is for ImageNet's validation images"):
        real_label_error([NAME.format(3), name], np.array([0, 0]), real_labels)


def test_images_that_all_have_no_label_are_one_message(real_labels):
    with pytest.raises(UserError, match="none of the validation images has a label there"):
        real_label_error([NAME.format(1)], np.array([0]), real_labels)

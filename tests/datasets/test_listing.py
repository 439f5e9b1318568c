"""Which files of a class folder are images: by name, by content, through links, and never a pipe."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from resnet.datasets import listing
from resnet.datasets.listing import list_images
from resnet.datasets.source import FileImage, open_regular
from resnet.errors import UserError


@pytest.fixture
def cat(tmp_path) -> Path:
    """A folder of one image."""
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "0.jpg").write_bytes(b"image")
    return tmp_path / "cat"


def complaint(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        list_images(folder)
    return str(caught.value)


def test_files_come_before_those_of_the_folders_inside_each_sorted(cat, files):
    names = ["b.jpg", "a/2.jpg", "a/1.jpg", "a/deeper/1.jpg", "0/z.jpg", "c/1.jpg"]
    files(cat, dict.fromkeys(names, b""))
    expected = ["0.jpg", "b.jpg", "0/z.jpg", "a/1.jpg", "a/2.jpg", "a/deeper/1.jpg", "c/1.jpg"]
    assert list_images(cat).images == expected


@pytest.mark.parametrize("name", ["a.JPG", "a.jpeg", "a.Png", "a.webp", "a.tif", "a.gif", "a.bmp", "a.heic", "a.ppm"])
def test_a_file_with_an_images_name_is_an_image_whatever_it_contains(cat, files, name):
    files(cat, {name: b"a note"})
    assert name in list_images(cat).images


def test_a_file_of_any_name_that_begins_like_an_image_is_one(cat, files, image_files):
    named = {f"{kind}.dat": content for kind, content in image_files.items()} | {"without a suffix": image_files["PNG"]}
    files(cat, named)
    assert set(list_images(cat).images) == {"0.jpg", *named}
    assert list_images(cat).ignored == []


def test_every_other_file_is_ignored_with_its_kind(cat, files):
    files(
        cat,
        {
            "notes.txt": b"BM is no bitmap",
            "labels.CSV": b"a,b\n",
            "README": b"read me",
            "v1.0 of 2024": b"read me",
            "Thumbs.db": b"\xd0\xcf\x11\xe0",
            "more/desktop.ini": b"[.ShellClassInfo]",
            "more/__MACOSX/1.jpg": b"resource fork",
            "empty.dat": b"",
            ".DS_Store": b"of a Mac",
            "._0.jpg": b"of a Mac",
        },
    )
    images, ignored = list_images(cat)
    assert images == ["0.jpg"]
    assert dict(ignored) == {
        "notes.txt": ".txt file",
        "labels.CSV": ".csv file",
        "README": "other file",
        "v1.0 of 2024": "other file",
        "Thumbs.db": "system file",
        "more/desktop.ini": "system file",
        "more/__MACOSX": "system file",
        "empty.dat": ".dat file",
    }


def test_only_files_without_an_images_suffix_are_opened(cat, files, monkeypatch):
    files(cat, {"notes.txt": b"", "1.png": b"", "Thumbs.db": b""})
    opened = []

    def spy(path: Path) -> BinaryIO:
        opened.append(path.name)
        return open_regular(path)

    monkeypatch.setattr(listing, "open_regular", spy)
    list_images(cat)
    assert opened == ["notes.txt"]


def test_a_class_folder_of_ignored_files_only_is_named_with_their_kinds(outcome_of, files, tmp_path):
    files(tmp_path, {"cat/0.jpg": b"", "cat/1.jpg": b"", "dog/0.npy": b"", "dog/1.npy": b"", "dog/a.txt": b""})
    message = outcome_of("folder", tmp_path)
    assert f"{tmp_path / 'dog'} has no images, only what is ignored (.npy file: 2, .txt file: 1)" in message


def test_ignored_files_do_not_change_the_fingerprint(source_of, files, tmp_path):
    files(tmp_path, {f"{name}/{i}.jpg": b"image" for name in ("cat", "dog") for i in range(2)})
    before = source_of("folder", tmp_path).fingerprint()
    files(tmp_path, {"cat/notes.txt": b"", "dog/Thumbs.db": b""})
    assert source_of("folder", tmp_path).fingerprint() == before


def test_ignored_files_of_imagenet_are_listed_and_counted_as_no_images(dataset_of, files, unpacked):
    files(unpacked, {"train/n01000001/notes.txt": b"", "train/list.txt": b"", "val/Thumbs.db": b""})
    loaded = dataset_of("imagenet", unpacked)
    assert {kind: list(names) for kind, names in loaded.ignored.items()} == {
        "outside the class folders": ["train/list.txt"],
        ".txt file": ["train/n01000001/notes.txt"],
        "system file": ["val/Thumbs.db"],
    }


def test_a_class_folder_inside_that_is_a_link_is_followed(cat, files, tmp_path):
    files(tmp_path / "elsewhere", {"1.jpg": b"", "deeper/2.jpg": b""})
    (cat / "more").symlink_to(tmp_path / "elsewhere")
    assert list_images(cat).images == ["0.jpg", "more/1.jpg", "more/deeper/2.jpg"]


def test_a_folder_that_two_links_lead_to_is_listed_twice(cat, files, tmp_path):
    files(tmp_path / "elsewhere", {"1.jpg": b""})
    for name in ("a", "b"):
        (cat / name).symlink_to(tmp_path / "elsewhere")
    assert list_images(cat).images == ["0.jpg", "a/1.jpg", "b/1.jpg"]


@pytest.mark.parametrize("name", ["__MACOSX", "lost+found", "@eaDir"])
def test_a_folder_of_the_system_is_no_class(dataset_of, files, tmp_path, name):
    files(tmp_path, {f"{folder}/{i}.jpg": b"" for folder in ("cat", "dog", name) for i in range(2)})
    loaded = dataset_of("folder", tmp_path)
    assert [identifier for identifier, _ in loaded.classes] == ["cat", "dog"]
    assert list(loaded.ignored["system file"]) == [name]


@pytest.mark.parametrize("target", ["..", ".", "../cat"])
def test_an_error_names_a_link_to_a_folder_that_it_is_in(cat, target):
    (cat / "inside").mkdir()
    (cat / "inside" / "loop").symlink_to(Path("..") / target)
    message = complaint(cat)
    assert f"{cat / 'inside' / 'loop'}" in message
    assert "is a link" in message


def test_a_folder_that_cannot_be_listed_is_an_error_with_its_name(cat):
    (cat / "locked").mkdir(mode=0)
    script = (
        "import os, sys; from pathlib import Path; from resnet.datasets.listing import list_images\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"  # root may list every folder
        "list_images(Path('.'))"
    )
    if os.getuid() != 0:
        script = "\n".join(script.splitlines()[::2])
    ran = subprocess.run([sys.executable, "-c", script], cwd=cat, capture_output=True, text=True)
    assert "UserError: locked cannot be listed: Permission denied. Make the folder readable" in ran.stderr


def test_a_pipe_a_socket_and_a_device_are_ignored_whatever_their_names(cat):
    os.mkfifo(cat / "pipe.jpg")
    (cat / "device.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(cat / "socket"))
    images, ignored = list_images(cat)
    assert images == ["0.jpg"]
    assert dict(ignored) == dict.fromkeys(("device.jpg", "pipe.jpg", "socket"), "not a regular file")


def test_a_broken_link_is_an_image_if_it_has_the_name_of_one(cat):
    for name in ("gone.jpg", "gone", "gone.txt"):
        (cat / name).symlink_to("nowhere")
    for name in ("loop.jpg", "loop"):
        (cat / name).symlink_to(name)
    images, ignored = list_images(cat)
    assert images == ["0.jpg", "gone.jpg", "loop.jpg"]
    assert dict(ignored) == dict.fromkeys(("gone", "gone.txt", "loop"), "broken link")


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_reading_what_is_no_regular_file_raises_an_error_at_once(tmp_path, kind):
    path = tmp_path / "1.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(OSError, match="not a regular file"):
        FileImage("1.jpg", path).read()

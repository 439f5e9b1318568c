from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def files_in(image_files):
    """files_in(root, {"train/cat/1.jpg": b""}): these files, beside one good image of each class in each split."""

    def make(root: Path, contents: dict[str, bytes]) -> Path:
        good = {f"{split}/{name}/0.jpg": image_files["JPEG"] for split in ("train", "val") for name in ("cat", "dog")}
        for name, content in (good | contents).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        return root

    return make

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sample_images import photographs

LUIGI = Path(sys.executable).with_name("luigi")
Luigi = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="session")
def luigi(tmp_path_factory: pytest.TempPathFactory) -> Luigi:
    """The real command, called from an empty folder, with what it printed."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def call(*arguments: str | Path) -> subprocess.CompletedProcess:
        command = [LUIGI, "--module", "pipeline", *map(str, arguments), "--local-scheduler"]
        return subprocess.run(command, cwd=elsewhere, capture_output=True, text=True)

    return call


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ROOT/train/CLASS/*.jpg and ROOT/val/CLASS/*.jpg."""
    root = tmp_path_factory.mktemp("photos")
    for split, count, seed in (("train", 48, 0), ("val", 20, 1)):
        for i, (encoded, label) in enumerate(photographs(count, seed)):
            folder = root / split / ("china", "flower")[label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i:03d}.jpg").write_bytes(encoded)
    return root

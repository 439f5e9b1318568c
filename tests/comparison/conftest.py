from __future__ import annotations

from pathlib import Path

import pytest
from made_answers import two_classes
from made_runs import MadeRun, log_lines


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Two runs on the same 40 images: `good` has 2 wrong, `bad` has 20, and another learning rate."""
    files = [f"{number:02d}.jpg" for number in range(40)]
    log = log_lines(epochs=3, per_epoch=4, validated=True)
    for name, wrong, overrides in (("good", 2, ()), ("bad", 20, ("training.learning_rate=0.2",))):
        MadeRun(filenames=files, logits=two_classes(wrong), overrides=overrides, name=name, log=log).write(
            tmp_path / "a"
        )
    return tmp_path / "a"

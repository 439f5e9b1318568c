from __future__ import annotations

from pathlib import Path

import pytest
from made_runs import MadeRun

from resnet.ledger import Ledger


@pytest.fixture
def made(tmp_path: Path) -> Ledger:
    """A run of which all stages but the report have finished."""
    return MadeRun(name="mine").write(tmp_path / "artifacts")

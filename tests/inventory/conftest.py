from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ledgers import finish_all, ledger_in

from resnet.ledger import Ledger


@pytest.fixture(scope="session")
def finished_artifacts(tmp_path_factory) -> Path:
    """A run whose five stages have finished. Not to be changed."""
    return finish_all(ledger_in(tmp_path_factory.mktemp("finished") / "artifacts")).run.artifacts


@pytest.fixture
def finished(finished_artifacts, tmp_path) -> Ledger:
    """The ledger of such a run, free to change."""
    shutil.copytree(finished_artifacts, tmp_path / "artifacts")
    return ledger_in(tmp_path / "artifacts")

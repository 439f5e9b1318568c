"""When the page is written, and what happens where it cannot be."""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from resnet.files import atomic, remove_abandoned

logger = logging.getLogger(__name__)

INDEX = "index.html"
FOLLOW_SECONDS = 20.0  # between two times that the page is written for the epochs of a training


class RunsPage:
    """The page of an artifacts folder. Several processes may write it: each time it is whole, and the last one wins."""

    def __init__(self, artifacts: Path):
        self._artifacts = artifacts
        self._followed = -FOLLOW_SECONDS
        self._is_reported = False

    def follow(self) -> None:
        """Write the page, unless that was done in the last FOLLOW_SECONDS."""
        if time.monotonic() - self._followed >= FOLLOW_SECONDS:
            self.write()
            self._followed = time.monotonic()

    def write(self) -> None:
        """Write the page as things are now. Raises nothing: the first thing that goes wrong is a warning.

        Where there is no artifacts folder yet, there is nothing to show, and none is made.
        """
        if not self._artifacts.is_dir():
            return
        # It takes 60 ms to import, and a command that finds everything done never needs it.
        from resnet.runs_page.page import render

        try:
            remove_abandoned(self._artifacts / INDEX)
            with atomic(self._artifacts / INDEX, "w") as file:
                file.write(render(self._artifacts))
        except OSError as error:
            self._report(error.strerror or str(error))
        except Exception as error:  # a bug in a page that is looked at must not end days of training
            self._report(f"{type(error).__name__}: {error}", traceback.format_exc())

    def _report(self, why: str, details: str = "") -> None:
        if not self._is_reported:
            self._is_reported = True
            path = self._artifacts / INDEX
            text = f"{path} cannot be written: {why}. The work goes on without it."
            logger.warning("%s", f"{text}\n{details}" if details else text)


@contextlib.contextmanager
def kept_current(artifacts: Path) -> Iterator[RunsPage]:
    """The page of an artifacts folder, written at the end of the block however that ends."""
    page = RunsPage(artifacts)
    try:
        yield page
    finally:
        page.write()

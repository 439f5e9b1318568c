"""How far a stage is: a bar on the terminal, and a line a second for whoever started the stage.

The Luigi task that starts a stage hands it a pipe (its descriptor in RESNET_PROGRESS_FD) and shows what comes through
it on the scheduler's page. Each line is a JSON object: {"fraction": 0.4, "message": "..."} or {"error": "..."}.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from tqdm import tqdm

ENVIRONMENT = "RESNET_PROGRESS_FD"


class Progress:
    """A bar over `total` things, as a context manager."""

    def __init__(self, title: str, total: int, unit: str, *, done: int = 0):
        patience = 0.5 if sys.stderr.isatty() else 10.0  # a log file wants a line now and then, not ten a second
        self._title = title
        self._bar: Any = tqdm(
            desc=title, total=total, initial=done, unit=f" {unit}", mininterval=patience, dynamic_ncols=True
        )
        self._told = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def advance(self, steps: int = 1, note: str = "") -> None:
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(steps)
        if time.monotonic() - self._told >= 1.0 or self._bar.n >= self._bar.total:
            self._told = time.monotonic()
            count = f"{self._title}: {self._bar.n:,} of {self._bar.total:,}{self._bar.unit}"
            tell(fraction=self._bar.n / max(self._bar.total, 1), message=f"{count}, {note}" if note else count)

    def say(self, text: str) -> None:
        """A line above the bar."""
        self._bar.write(text, file=sys.stderr)


def tell(**news: Any) -> bool:
    """Send one line to whoever started this stage; returns whether anybody listens."""
    descriptor = os.environ.get(ENVIRONMENT)
    if descriptor is None:
        return False
    try:
        if "error" in news:
            os.set_blocking(int(descriptor), True)  # this one must arrive
        os.write(int(descriptor), (json.dumps(news) + "\n").encode())
    except BlockingIOError:  # nobody reads at the moment: this line is lost, and the work goes on
        pass
    except OSError:  # the listener is gone
        os.environ.pop(ENVIRONMENT)
        return False
    return True

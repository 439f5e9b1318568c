"""Another attempt, after a pause, at what failed for a reason that may pass: a network disk is away, a host is lost.

A stage goes on where the failed attempt has left it. Luigi's own retries would need a worker that stays alive, and
would repeat mistakes too.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from resnet.errors import Passing
from resnet.progress import time_text

GROWTH = 4  # of the pause, from one attempt to the next
WORKED_SECONDS = 600.0  # after which an attempt counts as the first again: what failed before had passed


def tried_again(
    attempt: Callable[[], None],
    retries: int,
    pause_seconds: float,
    say: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Call `attempt`, and again after Passing, up to so many times in a row; `say` what failed, and when it goes on.

    Any other error is raised at once, Passing after the last attempt.
    """
    failed = 0
    while True:
        started = clock()
        try:
            return attempt()
        except Passing as error:
            failed = 1 if clock() - started > WORKED_SECONDS else failed + 1
            if failed > retries:
                raise
            seconds = pause_seconds * GROWTH ** (failed - 1)
            say(f"{error}\nThat may pass: the next attempt ({failed} of {retries}) is in {time_text(seconds)}")
        pause(seconds)

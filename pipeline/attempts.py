"""Another attempt, after a pause, at what failed for a reason that may pass: a network disk is away, a host is lost.

A stage goes on where the failed attempt has left it. Luigi's own retries would need a worker that stays alive, and
would repeat mistakes too.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from resnet.errors import Passing
from resnet.progress import time_text

LASTING_SECONDS = 600.0
GROWTH = 4  # of the pause, from one attempt to the next


def tried_again(
    attempt: Callable[[], None],
    progress: Callable[[], object],
    retries: int,
    pause_seconds: float,
    say: Callable[[str], None],
    pause: Callable[[float], bool],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Call `attempt`, and again after Passing, up to so many times in a row; `say` what failed, and when it goes on.

    `progress` is something that is another thing once work was done: an attempt that did some, and lasted, counts as
    the first again, since what had failed before has passed. `pause` waits, and returns whether somebody asked to
    stop. Any other error is raised at once, Passing after the last attempt or a stop.
    """
    failed = 0
    while True:
        before, started = progress(), clock()
        try:
            return attempt()
        except Passing as error:
            has_passed = progress() != before and clock() - started > LASTING_SECONDS
            failed = 1 if has_passed else failed + 1
            if failed > retries:
                raise
            seconds = pause_seconds * GROWTH ** (failed - 1)
            say(f"{error}\nThat may pass: the next attempt ({failed} of {retries}) is in {time_text(seconds)}")
            if pause(seconds):
                raise

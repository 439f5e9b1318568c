"""A stage as a child process of its task: TensorFlow stays out of Luigi's process, which can be killed at any time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any

from resnet.errors import UserError
from resnet.processes import PARENT, command, signals_blocked
from resnet.progress import ENVIRONMENT


def run_stage(stage: str, options: list[str], on_news: Callable[[dict[str, Any]], None]) -> None:
    """Run `python -m resnet STAGE` to its end; call `on_news` with each line of its progress.

    The child ends when this process does, for whatever reason; a trainer saves a checkpoint first. Raises UserError
    with the child's own message where it failed.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # rather lose news than wait for a scheduler that does not answer
    with signals_blocked():  # until the stage can heed them
        child = subprocess.Popen(
            [*command("resnet"), stage, *options],
            env=os.environ | {ENVIRONMENT: str(writing), PARENT: str(os.getpid())},
            pass_fds=(writing,),
        )
    os.close(writing)
    error = ""
    try:
        with open(reading, encoding="utf-8") as pipe:
            for line in pipe:
                news = json.loads(line)
                error = news.get("error", error)
                on_news(news)
        code = child.wait()
    except BaseException:  # Ctrl-C reaches the child too: let it save its work
        child.terminate()
        child.wait()
        raise
    if code:
        raise UserError(error or _unexplained(stage, code))


def _unexplained(stage: str, code: int) -> str:
    if code == -9:
        return f"python -m resnet {stage} was killed: by hand, or by the kernel because memory ran out (see dmesg)"
    if code in (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP):
        return f"python -m resnet {stage} was stopped before it had begun; the same command continues"
    return f"python -m resnet {stage} ended with exit code {code}: see its messages above"

"""A stage as a child process of its task: TensorFlow stays out of Luigi's process, which can be killed at any time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.launcher import Process
from resnet.errors import Passing, UserError
from resnet.processes import PARENT, SAVING_SIGNAL, command, signals_blocked
from resnet.progress import ENVIRONMENT

INTERRUPTED = 130  # the exit code of a stage that has saved its work


def stage_command(stage: str, options: Sequence[str]) -> list[str]:
    """`python -m resnet STAGE`, as this interpreter runs it."""
    return [*command("resnet"), stage, *options]


class Running:
    """The processes of a stage that runs. They may be asked for something from any thread."""

    def __init__(self) -> None:
        self._started: list[tuple[subprocess.Popen, Process]] = []
        self.can_save = False  # the stage works, so that it heeds the signal
        self.is_asked_to_stop = threading.Event()

    def save(self) -> bool:
        """Ask the first process for a checkpoint; returns whether that is possible."""
        if not (self._started and self.can_save and self._started[0][1].is_child):
            return False
        self._started[0][0].send_signal(SAVING_SIGNAL)
        return True

    def stop(self) -> None:
        """Ask all processes to save their work, and stop; no attempt follows."""
        self.is_asked_to_stop.set()
        for child, process in self._started:
            child.send_signal(process.ending_signal)

    def follow(self, started: Sequence[tuple[subprocess.Popen, Process]]) -> None:
        """From now on, these are the processes."""
        self._started, self.can_save = list(started), False
        if self.is_asked_to_stop.is_set():
            self.stop()


def run_stage(
    stage: str,
    processes: Sequence[Process],
    on_news: Callable[[dict[str, Any]], None],
    running: Running | None = None,
) -> None:
    """Run the processes of a stage to their end; call `on_news` with each line of their progress.

    Children end when this process does, for whatever reason; a trainer saves a checkpoint first. Raises UserError with
    the message of the first that failed, unless the first process succeeds; Passing where another attempt may succeed.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # rather lose news than wait for a scheduler that does not answer
    started: list[subprocess.Popen] = []
    try:
        with signals_blocked():  # until the stage can heed them
            for process in processes:
                started.append(_start(process, writing))
    except BaseException:
        os.close(reading)
        for child in started:
            child.kill()
            child.wait()
        raise
    finally:
        os.close(writing)
    running = running or Running()
    running.follow(list(zip(started, processes, strict=True)))
    error = ""
    try:
        with open(reading, encoding="utf-8") as pipe:
            for line in pipe:
                news = json.loads(line)
                error = error or news.get("error", "")
                running.can_save = running.can_save or "fraction" in news
                on_news(news)
        codes = [child.wait() for child in started]
        running.follow([])
    except BaseException:  # Ctrl-C reaches the children too: let them save their work
        running.stop()
        for child in started:
            child.wait()
        raise
    if codes[0] == -signal.SIGKILL:  # what others say of it is less
        error = ""
    if codes[0]:
        kind = Passing if codes[0] == Passing.exit_code else UserError
        raise kind(error or _unexplained(stage, codes[0], processes[0].is_child))


def _start(process: Process, writing: int) -> subprocess.Popen:
    environment = {**os.environ, PARENT: str(os.getpid()), **process.environment}
    if process.is_child:
        return subprocess.Popen(process.command, env={**environment, ENVIRONMENT: str(writing)}, pass_fds=(writing,))
    environment.pop(ENVIRONMENT, None)
    return subprocess.Popen(process.command, env=environment)


def _unexplained(stage: str, code: int, is_child: bool) -> str:
    if code == -signal.SIGKILL:
        return f"python -m resnet {stage} was killed: by hand, or by the kernel because memory ran out (see dmesg)"
    if code in (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP) and is_child:
        return f"python -m resnet {stage} was stopped before it had begun; the same command continues"
    if code == INTERRUPTED:
        return f"{stage} was interrupted; the same command continues it"
    return f"python -m resnet {stage} ended with exit code {code}: see its messages above"

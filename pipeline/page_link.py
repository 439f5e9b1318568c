"""What a running stage and the scheduler's page say to each other.

The page gets the stage's progress, a link to its log or report, and its answers to messages. A thread of its own talks
to the scheduler, so that one that is down, killed or restarted holds nothing up: it gets the newest news when it is
back.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

logger = logging.getLogger("luigi-interface")

FOLDER_PAGE = "/artifacts-folder"  # of our scheduler
ASK_SECONDS = 2.0
LOOK_SECONDS = 1.0  # between two looks for messages
SPARE_SECONDS = 10.0  # before a scheduler that did not answer is tried again
ANSWER_SECONDS = 60.0  # in which a checkpoint that was asked for is written
COMMANDS = "status, checkpoint or stop"


class Page(Protocol):
    """The attributes that Luigi gives a task while it runs. Each is None where nobody listens."""

    set_progress_percentage: Callable[[float], None] | None
    set_status_message: Callable[[str], None] | None
    set_tracking_url: Callable[[str], None] | None
    scheduler_messages: Any


class Stage(Protocol):
    """What can be asked of the running stage."""

    def save(self) -> bool:
        """Ask for a checkpoint; returns whether that is possible."""

    def stop(self) -> None:
        """Ask it to save, and stop."""


class PageLink:
    """A context manager. `show` takes the stage's news, from any thread, and returns at once."""

    def __init__(self, page: Page, stage: Stage):
        self._page, self._stage = page, stage
        self._news: dict[str, Any] = {}
        self._shown: dict[str, Any] = {}
        self._saved = threading.Event()
        self._awake = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="page", daemon=True)

    def __enter__(self) -> PageLink:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._awake.set()
        self._thread.join(LOOK_SECONDS)  # a scheduler that is down must not hold up the end

    def show(self, news: dict[str, Any]) -> None:
        """Keep the news to be shown: "fraction", "message", "url"; "checkpoint" is the step of one that was saved."""
        self._news |= news
        if "checkpoint" in news:
            self._saved.set()
        self._awake.set()

    def _serve(self) -> None:
        is_known_to_be_down = is_last = False
        while not is_last:
            self._awake.wait(LOOK_SECONDS)
            self._awake.clear()
            is_last = self._closed.is_set()  # and what was shown before that is still to be shown
            try:
                self._answer()
                self._show_newest()
                is_known_to_be_down = False
            except Exception as error:
                if not (is_known_to_be_down or is_last):
                    logger.warning("the scheduler does not answer, and is tried again: %s", error)
                is_known_to_be_down = True
                self._closed.wait(SPARE_SECONDS)

    def _show_newest(self) -> None:
        shows: dict[str, Callable[[Any], None] | None] = {
            "fraction": self._page.set_progress_percentage,
            "message": self._page.set_status_message,
            "url": self._page.set_tracking_url,
        }
        for name, show in shows.items():
            news = self._news.get(name)
            if name == "url" and self._closed.is_set():  # it would make a finished task a running one
                continue
            if show and news is not None and news != self._shown.get(name):
                show(harmless(news) if name == "message" else round(100 * news, 1) if name == "fraction" else news)
                self._shown[name] = news

    def _answer(self) -> None:
        messages = self._page.scheduler_messages
        while messages is not None:
            try:
                message = messages.get_nowait()
            except queue.Empty:
                return
            message.respond(harmless(self._answer_to(str(message).strip().lower())))

    def _answer_to(self, asked: str) -> str:
        if asked == "status":
            return self._news.get("message", "it is starting")
        if asked == "stop":
            self._stage.stop()
            return "it saves, and stops; the same command continues it"
        if asked != "checkpoint":
            return f"it understands {COMMANDS}"
        self._saved.clear()
        if not self._stage.save():
            return "it cannot save now: it is starting, or runs on other machines"
        if not self._saved.wait(ANSWER_SECONDS):
            return f"no checkpoint within {ANSWER_SECONDS:.0f} s: see its log"
        return f"the checkpoint of step {self._news['checkpoint']:,} is saved"


def page_of(scheduler: object, artifacts: Path) -> str:
    """The address of the artifacts on the scheduler's page; empty where it does not show them: Luigi's own luigid, or
    one for another folder."""
    address = getattr(scheduler, "_url", "")
    if not address.startswith("http"):
        return ""
    try:
        with urllib.request.urlopen(f"{address}{FOLDER_PAGE}", timeout=ASK_SECONDS) as answer:
            is_shown = json.load(answer).get("artifacts") == str(artifacts)
    except (OSError, ValueError):
        return ""
    return f"{address}/artifacts" if is_shown else ""


def harmless(text: str) -> str:
    """Text for Luigi's page, which shows some of it as HTML: what would be markup is shown as similar letters."""
    return text.translate({ord("<"): "‹", ord(">"): "›", ord("&"): "＆"})

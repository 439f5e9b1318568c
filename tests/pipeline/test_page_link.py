"""What a running stage and the scheduler's page say to each other."""

from __future__ import annotations

import queue
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import page_link
from pipeline.page_link import PageLink, harmless, page_of


class Message:
    """A message of somebody who looks at the page."""

    def __init__(self, content: str) -> None:
        self.content, self.answers = content, queue.Queue()

    def __str__(self) -> str:
        return self.content

    def respond(self, answer: str) -> None:
        self.answers.put(answer)


class Stage:
    """A stage that saves at once, if it can."""

    def __init__(self, can_save: bool = True) -> None:
        self.can_save, self.stopped, self.link = can_save, False, None

    def save(self) -> bool:
        if self.can_save and self.link:
            self.link.show({"checkpoint": 1200})
        return self.can_save

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def page(monkeypatch) -> SimpleNamespace:
    """A page that keeps what it is shown in `shown`, in order."""
    monkeypatch.setattr(page_link, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(page_link, "SPARE_SECONDS", 0.01)
    shown: queue.Queue[Any] = queue.Queue()
    return SimpleNamespace(
        shown=shown,
        set_progress_percentage=shown.put,
        set_status_message=shown.put,
        set_tracking_url=shown.put,
        scheduler_messages=queue.Queue(),
    )


def asked(page: SimpleNamespace, stage: Stage, *contents: str) -> list[str]:
    """The answers to these messages."""
    messages = [Message(content) for content in contents]
    with PageLink(page, stage) as link:
        stage.link = link
        link.show({"message": "training: 5 of 9 steps"})
        for message in messages:
            page.scheduler_messages.put(message)
        return [message.answers.get(timeout=20) for message in messages]


def test_the_page_shows_progress_in_percent_the_message_and_the_link(page):
    with PageLink(page, Stage()) as link:
        link.show({"fraction": 0.12345, "message": "step 3", "url": "http://x/log"})
        assert {page.shown.get(timeout=20) for _ in range(3)} == {12.3, "step 3", "http://x/log"}


def test_a_task_that_is_done_is_not_made_a_running_one_by_a_late_link(page):
    with PageLink(page, Stage()) as link:
        link._closed.set()
        link.show({"url": "http://x/log", "message": "done"})
    assert page.shown.get(timeout=20) == "done"
    assert page.shown.empty()


def test_what_is_shown_last_is_shown_although_the_stage_ends(page):
    with PageLink(page, Stage()) as link:
        link.show({"message": "done"})
    assert page.shown.get(timeout=20) == "done"


def test_the_same_news_are_shown_once(page):
    with PageLink(page, Stage()) as link:
        link.show({"message": "step 3"})
        assert page.shown.get(timeout=20) == "step 3"
        link.show({"message": "step 3"})
        link.show({"fraction": 1.0})
        assert page.shown.get(timeout=20) == 100.0
    assert page.shown.empty()


def test_a_scheduler_that_is_down_holds_nothing_up_is_said_once_and_gets_the_newest_news_when_it_is_back(page, caplog):
    is_down, tried = threading.Event(), threading.Event()
    is_down.set()

    def show(message: str) -> None:
        tried.set()
        if is_down.is_set():
            raise ConnectionError("nobody there")
        page.shown.put(message)

    page.set_status_message = show
    with PageLink(page, Stage()) as link:
        for step in range(100):
            link.show({"message": f"step {step}"})
        assert tried.wait(20)
        tried.clear()
        assert tried.wait(20)  # again
        is_down.clear()
        assert page.shown.get(timeout=20) == "step 99"
    assert caplog.text.count("the scheduler does not answer, and is tried again: nobody there") == 1


def test_without_a_scheduler_that_listens_nothing_is_shown(page):
    page.set_status_message = page.set_progress_percentage = page.set_tracking_url = page.scheduler_messages = None
    with PageLink(page, Stage()) as link:
        link.show({"message": "step 3", "fraction": 0.5})


def test_status_checkpoint_and_stop_are_answered(page):
    stage = Stage()
    assert asked(page, stage, "status", " Checkpoint ", "stop", "dance") == [
        "training: 5 of 9 steps",
        "the checkpoint of step 1,200 is saved",
        "it saves, and stops; the same command continues it",
        "it understands status, checkpoint or stop",
    ]
    assert stage.stopped


def test_a_stage_that_cannot_save_says_so(page):
    assert asked(page, Stage(can_save=False), "checkpoint") == [
        "it cannot save now: it is starting, or runs on other machines"
    ]


def test_a_checkpoint_that_does_not_come_is_not_promised(page, monkeypatch):
    monkeypatch.setattr(page_link, "ANSWER_SECONDS", 0.01)
    stage = Stage()
    stage.save = lambda: True
    assert asked(page, stage, "checkpoint") == ["no checkpoint within 0 s: see its log"]


def test_text_from_data_is_no_markup_on_luigis_page(page):
    assert harmless("<b>&amp;</b>") == "‹b›＆amp;‹/b›"
    with PageLink(page, Stage()) as link:
        link.show({"message": "<script>alert(1)</script>"})
    assert page.shown.get(timeout=20) == "‹script›alert(1)‹/script›"


def test_a_scheduler_that_shows_no_artifacts_gets_no_links(tmp_path):
    assert page_of(None, tmp_path) == ""
    assert page_of(SimpleNamespace(_url="http://127.0.0.1:9"), tmp_path) == ""
    assert page_of(SimpleNamespace(_url="http+unix://socket"), tmp_path) == ""

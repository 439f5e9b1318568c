"""Ctrl-C, SIGTERM and SIGHUP during training."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from resnet.progress import Progress
from resnet.training.interruption import Interruption

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def earlier_handler(number, frame) -> None:
    """Does nothing."""


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def earlier_handlers() -> Iterator[None]:
    """Handlers that are there before the block. A signal that leaks out of it does not end pytest."""
    before = {number: signal.signal(number, earlier_handler) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_without_a_signal_no_stop_is_requested():
    with Interruption() as interruption:
        assert not interruption.requested


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_requests_a_stop_and_raises_nothing(number):
    with Interruption() as interruption:
        send(number)
        assert interruption.requested


@pytest.mark.parametrize("number", SIGNALS)
def test_the_earlier_handlers_are_restored_after_the_block(number):
    with Interruption():
        assert signal.getsignal(number) is not earlier_handler
    assert signal.getsignal(number) is earlier_handler


@pytest.mark.parametrize("number", SIGNALS)
def test_the_earlier_handlers_are_restored_when_the_block_raises(number):
    with pytest.raises(ValueError, match="disk"), Interruption():
        raise ValueError("disk")
    assert signal.getsignal(number) is earlier_handler


@pytest.mark.parametrize("first", SIGNALS)
def test_ctrl_c_after_another_signal_raises_keyboard_interrupt(first):
    with Interruption() as interruption:
        send(first)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        assert interruption.requested


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_or_sighup_after_another_signal_raises_nothing(first, second):
    with Interruption() as interruption:
        send(first)
        try:
            send(second)
        except KeyboardInterrupt:
            pytest.fail(f"{second.name} raised KeyboardInterrupt")
        assert interruption.requested


def test_sighup_stays_ignored_in_a_process_that_nohup_started():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Interruption() as interruption:
        send(signal.SIGHUP)
        assert not interruption.requested
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_a_signal_while_the_bar_is_being_drawn_changes_nothing_but_the_request(monkeypatch, capfd):
    """The bar's lock and the buffer of standard error are in use at that moment."""

    class Terminal(io.RawIOBase):
        written = b""

        def isatty(self) -> bool:
            return True

        def writable(self) -> bool:
            return True

        def write(self, data) -> int:
            send(signal.SIGTERM)
            Terminal.written += bytes(data)
            return len(data)

    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(Terminal()), line_buffering=True))
    with Interruption() as interruption, Progress("training", 2, "steps") as progress:
        progress.advance(2)
    assert interruption.requested
    assert b"2/2" in Terminal.written
    assert capfd.readouterr().err.strip() == "training stops after this step and saves a checkpoint"

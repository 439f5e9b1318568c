"""Ctrl-C and SIGTERM during training."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from resnet.training.interruption import Interruption

SIGNALS = [signal.SIGINT, signal.SIGTERM]


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
def test_sigterm_after_another_signal_raises_nothing(first):
    with Interruption() as interruption:
        send(first)
        try:
            send(signal.SIGTERM)
        except KeyboardInterrupt:
            pytest.fail("SIGTERM raised KeyboardInterrupt")
        assert interruption.requested

"""A checkpoint that somebody asks for while training goes on."""

from __future__ import annotations

import os
import signal

from resnet.processes import SAVING_SIGNAL
from resnet.training.saving_on_demand import SavingOnDemand


def test_the_signal_asks_for_one_checkpoint_and_ends_nothing():
    with SavingOnDemand() as saving:
        assert not saving.taken()
        os.kill(os.getpid(), SAVING_SIGNAL)
        assert saving.taken()
        assert not saving.taken()


def test_afterwards_the_signal_does_what_it_did_before():
    before = signal.signal(SAVING_SIGNAL, signal.SIG_IGN)
    try:
        with SavingOnDemand():
            pass
        assert signal.getsignal(SAVING_SIGNAL) == signal.SIG_IGN
    finally:
        signal.signal(SAVING_SIGNAL, before)

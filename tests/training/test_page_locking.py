"""Page-locking the ring for copies to a GPU, tested on a fake CUDA driver instead of a GPU."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from resnet.training.page_locking import page_locked


class Driver:
    """A fake driver. It records calls, and returns 0, or `refusal` from the function named `refused`."""

    def __init__(self, refused: str = "", refusal: int = 0):
        self.calls: list[tuple[str, tuple]] = []
        self.locked: dict[int, int] = {}
        self.contexts = 0
        self._refused, self._refusal = refused, refusal

    def __getattr__(self, name: str):
        def call(*arguments) -> int:
            self.calls.append((name, arguments))
            if name == self._refused:
                return self._refusal
            if name == "cuMemHostRegister_v2":
                self.locked[arguments[0].value] = arguments[1].value
            elif name == "cuMemHostUnregister":
                del self.locked[arguments[0].value]
            elif name in ("cuCtxPushCurrent_v2", "cuDevicePrimaryCtxRetain"):
                self.contexts += 1
            elif name in ("cuCtxPopCurrent_v2", "cuDevicePrimaryCtxRelease_v2"):
                self.contexts -= 1
            return 0

        return call


MEMORY = np.zeros(3_000_000, np.uint8)


def test_all_memory_is_locked_inside_the_block_and_unlocked_after_it():
    driver = Driver()
    with page_locked(MEMORY, driver) as locked:
        assert locked
        assert driver.locked == {MEMORY.ctypes.data: MEMORY.nbytes}
        assert driver.contexts == 0  # the thread's context is restored
    assert driver.locked == {}
    assert driver.contexts == 0


def test_memory_is_unlocked_when_training_fails():
    driver = Driver()
    with pytest.raises(KeyboardInterrupt), page_locked(MEMORY, driver):
        raise KeyboardInterrupt
    assert driver.locked == {}
    assert driver.contexts == 0


@pytest.mark.parametrize("refused", ["cuInit", "cuDevicePrimaryCtxRetain", "cuMemHostRegister_v2"])
def test_training_continues_with_a_warning_when_the_driver_refuses(refused, capsys):
    driver = Driver(refused, 304)
    with page_locked(MEMORY, driver) as locked:
        assert not locked
    assert f"3 MB of batches cannot be page-locked ({refused} returned error 304)" in capsys.readouterr().err
    assert driver.locked == {}
    assert driver.contexts == 0


def test_training_continues_with_a_warning_without_a_driver(monkeypatch, capsys):
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with page_locked(MEMORY) as locked:
        assert not locked
    assert "libcuda.so.1: cannot open shared object file" in capsys.readouterr().err

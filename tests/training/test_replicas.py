"""Replicas give the same gradients, weights and metrics on any number of devices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, np.ndarray]:
    folder = tmp_path_factory.mktemp("replicas")
    script, paths = (
        Path(__file__).parent / "replicas.py",
        {devices: folder / f"{devices}.npz" for devices in (1, 2, 3, 4)},
    )
    started = [subprocess.Popen([sys.executable, script, str(devices), path]) for devices, path in paths.items()]
    assert [process.wait() for process in started] == [0, 0, 0, 0]
    found = {}
    for devices, path in paths.items():
        with np.load(path) as file:
            found |= {f"{devices}/{name}": value for name, value in file.items()}
    return found


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Relative to the size of the arrays."""
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-12))


def named(results, prefix) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): value for name, value in results.items() if name.startswith(prefix)}


@pytest.mark.parametrize("way", ["1/together", "2/free"])
def test_devices_average_the_gradients_of_replicas_with_separate_statistics(results, way):
    plain, found = named(results, "1/plain/gradient/"), named(results, f"{way}/gradient/")
    assert len(found) == len(plain) > 25
    for name, gradient in plain.items():
        assert difference(found[name], gradient) < 1e-4, name


@pytest.mark.parametrize("way", ["2/fixed", "3/fixed", "4/fixed", "4/lamb", "2/half"])
def test_in_a_fixed_order_all_bits_are_the_same_on_any_number_of_devices(results, way):
    one, several = named(results, f"1/{way[2:]}/"), named(results, f"{way}/")
    assert set(one) == set(several)
    assert [name for name in one if one[name].tobytes() != several[name].tobytes()] == []


def test_an_overflow_skips_the_step_on_all_devices(results):
    scales, skipped = np.transpose([results[f"2/half/metrics/{number}"][-2:] for number in (0, 1)])
    assert scales.tolist() == [2.0**39, 2.0**38]
    assert skipped.tolist() == [1, 1]
    assert not any(value.any() for name, value in named(results, "2/half/variable/momentum").items())


@pytest.mark.parametrize("way", ["1/together", "2/free"])
def test_in_another_order_weights_and_statistics_are_the_same_up_to_rounding(results, way):
    fixed, free = named(results, "1/fixed/variable/"), named(results, f"{way}/variable/")
    assert set(fixed) == set(free)
    for name in fixed:
        assert difference(free[name], fixed[name]) < 1e-3, name


@pytest.mark.parametrize("way", ["1/together", "2/free", "2/compiled"])
def test_metrics_cover_the_whole_batch_on_any_number_of_devices(results, way):
    for number in (0, 1):  # before the first update, and after it
        name = f"metrics/{number}"
        np.testing.assert_allclose(results[f"{way}/{name}"], results[f"1/fixed/{name}"], rtol=1e-4)

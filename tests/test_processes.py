"""How the package starts its processes, and how many cores they may use."""

from __future__ import annotations

import subprocess

import pytest

from resnet import processes
from resnet.processes import command, cores


def test_a_resnet_py_in_the_current_folder_does_not_shadow_the_package(tmp_path):
    (tmp_path / "resnet.py").write_text("raise SystemExit('not this one')")
    result = subprocess.run([*command("resnet"), "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "convert" in result.stdout


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("400000 100000", 4),
        ("150000 100000", 2),
        ("20000 100000", 1),
        ("9900000 100000", 64),
        ("max 100000", 64),
        ("", 64),
    ],
)
def test_a_containers_cpu_quota_limits_the_cores(monkeypatch, tmp_path, quota, expected):
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(processes, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert cores() == expected


def test_without_control_groups_the_cpu_affinity_limits_the_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 5})
    assert cores() == 2

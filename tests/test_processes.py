"""How this package's own processes are started."""

from __future__ import annotations

import subprocess

from resnet.processes import command


def test_a_resnet_py_in_the_current_folder_is_not_taken_for_the_package(tmp_path):
    (tmp_path / "resnet.py").write_text("raise SystemExit('not this one')")
    result = subprocess.run([*command("resnet"), "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "convert" in result.stdout

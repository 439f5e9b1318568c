"""What a benchmark ran on, for its header."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from resnet.processes import cores


def machine() -> dict[str, Any]:
    """The CPU, how many cores of it this process may use, their load in the last minute, and the version of Python."""
    load = os.getloadavg()[0]
    return {"cpu": cpu_model(), "cores": cores(), "load": load, "python": platform.python_version()}


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())

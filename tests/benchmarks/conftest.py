"""The modules of benchmarks/, which are scripts beside each other and no package."""

from __future__ import annotations

import sys
from pathlib import Path

# Last, so that none of their names hides a module of the tests.
sys.path.append(str(Path(__file__).parent.parent.parent / "benchmarks"))

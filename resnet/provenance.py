"""With which software and on which machine something was done: it goes into every stage.json."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = ("tensorflow", "tensorflow-cpu", "numpy", "opencv-python-headless", "luigi", "pyzmq", "pandas", "keras")


def provenance() -> dict[str, Any]:
    """Versions of packages and Python, the host's name, and the commit of this code."""
    return {
        "packages": _package_versions(),
        "python": platform.python_version(),
        "host": platform.node(),
        "git_commit": _git_commit(),
    }


def code_digest() -> str:
    """The SHA-256 of this package's code and recipes, with the names of their files: a commit does not say what else
    has changed, and an image without its checkout has none."""
    here, digest = Path(__file__).parent, hashlib.sha256()
    for path in sorted([*here.rglob("*.py"), *here.rglob("*.toml")]):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(here).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _package_versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _git_commit() -> str | None:
    """The commit of this code, with "+changes" where the checkout differs from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "."], cwd=here, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+changes" if changed.returncode else "")

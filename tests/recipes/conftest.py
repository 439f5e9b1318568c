from __future__ import annotations

import pytest


@pytest.fixture
def recipe_file(tmp_path):
    """recipe_file("mine.toml", content): writes the file and returns its path."""

    def write(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write

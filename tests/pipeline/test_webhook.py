"""An address that hears of tasks that succeed or fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

HEARD: list[dict] = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        HEARD.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    HEARD.clear()
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/news"
    server.shutdown()
    thread.join()
    server.server_close()


def convert(luigi, folder: Path, address: str, monkeypatch, *arguments: str):
    (folder / "luigi.cfg").write_text(f"[pipeline]\nwebhook = {address}\n")
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(folder / "luigi.cfg"))
    return luigi("ConvertRecords", "--recipe", "digits", "--run", "mine", "--artifacts", folder / "a", *arguments)


def test_success_and_failure_are_told_with_the_run_and_the_reason(luigi, tmp_path, address, monkeypatch):
    assert convert(luigi, tmp_path, address, monkeypatch).returncode == 0
    assert [
        {"task": "ConvertRecords", "run": "mine", "artifacts": str(tmp_path / "a"), "result": "succeeded", "error": ""}
    ] == HEARD
    (tmp_path / "a/records/digits/train-00000-of-00004").unlink()
    (tmp_path / "a/records/digits/train-00000-of-00004").mkdir()
    assert convert(luigi, tmp_path, address, monkeypatch).returncode == 30
    assert HEARD[-1]["result"] == "failed"
    assert "train-00000-of-00004" in HEARD[-1]["error"]


def test_an_address_that_does_not_answer_is_one_warning(luigi, tmp_path, monkeypatch):
    done = convert(luigi, tmp_path, "http://127.0.0.1:9/", monkeypatch)
    assert done.returncode == 0
    assert "the webhook http://127.0.0.1:9/ did not take the news" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr

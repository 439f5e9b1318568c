"""Who hears of tasks that succeed or fail: an address, and somebody by e-mail."""

from __future__ import annotations

import email
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from waiting import until

LUIGI = Path(sys.executable).with_name("luigi")
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


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_task_whose_process_is_killed_is_told_too(address, tmp_path):
    (tmp_path / "luigi.cfg").write_text(f"[pipeline]\nwebhook = {address}\n")
    command = [LUIGI, "--module", "pipeline", "Train", "--recipe", "digits", "--run", "mine", "--local-scheduler"]
    process = subprocess.Popen([*command, "--workers", "2", "--artifacts", tmp_path / "a"], cwd=tmp_path)
    until(lambda: (tmp_path / "a/runs/mine/train/begun.json").exists())
    (task,) = [child for child in children_of(process.pid) if children_of(child)]
    (trainer,) = children_of(task)
    os.kill(task, signal.SIGKILL)
    assert process.wait(60) != 0
    assert [(news["task"], news["result"]) for news in HEARD] == [("ConvertRecords", "succeeded"), ("Train", "failed")]
    until(lambda: not Path(f"/proc/{trainer}").exists())


def test_an_address_that_does_not_answer_is_one_warning(luigi, tmp_path, monkeypatch):
    done = convert(luigi, tmp_path, "http://127.0.0.1:9/", monkeypatch)
    assert done.returncode == 0
    assert "the webhook at 127.0.0.1 did not take the news" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("address", ["https://me:s3cret@host", "hooks/s3cret", "http://[s3cret", "s3cret://host"])
def test_a_secret_in_an_address_that_cannot_be_used_is_not_said(luigi, tmp_path, monkeypatch, address):
    done = convert(luigi, tmp_path, address, monkeypatch)
    assert done.returncode == 0
    assert "did not take the news" in done.stderr
    assert "s3cret" not in (done.stdout + done.stderr).replace("unknown url type: s3cret", "")
    assert "Traceback" not in done.stderr


class Mailbox:
    """An SMTP server that takes every message and sends none on. `messages`: what came, as text."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                self._talk(stream)

    def _talk(self, stream) -> None:
        def say(line: str) -> None:
            stream.write(f"{line}\r\n".encode())
            stream.flush()

        say("220 here")
        for line in stream:
            if line.upper().startswith(b"DATA"):
                say("354 go on")
                lines = list(iter(stream.readline, b".\r\n"))
                self.messages.append(b"".join(lines).decode())
            say("250 fine")
            if line.upper().startswith(b"QUIT"):
                return


def test_luigis_own_e_mail_has_the_reason_the_log_and_the_command_that_continues(luigi, tmp_path, monkeypatch):
    mailbox = Mailbox()
    (tmp_path / "luigi.cfg").write_text(
        f"[email]\nreceiver = me@example.org\nforce_send = true\n[smtp]\nhost = 127.0.0.1\nport = {mailbox.port}\n"
    )
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(tmp_path / "luigi.cfg"))
    for name in ("cat/a.png", "cat/b.png", "dog/a.png", "dog/b.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_text("no image")
    options = ["--recipe", "imagefolder", "--data", tmp_path / "images", "--run", "mine", "--artifacts", tmp_path / "a"]
    done = luigi("ConvertRecords", *options)
    mailbox.close()
    assert done.returncode == 30
    (message,) = mailbox.messages
    text = email.message_from_string(message).get_payload()[0].get_payload(decode=True).decode()
    assert "4 images cannot be read" in text
    assert "The log's last lines:" in text
    assert "What continues it: luigi --module pipeline ConvertRecords --local-scheduler --run mine" in text

"""The socket of a pool: only its user can connect, and it leaves nothing behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

from resnet.errors import UserError
from resnet.workers import address

abstract = pytest.mark.skipif(not address.HAS_ABSTRACT_NAMES, reason="abstract names are Linux's")
OTHER_USER = 65534  # nobody


@pytest.fixture
def listening():
    """A bound socket."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as listening:
        yield listening


@pytest.fixture
def folders(monkeypatch, tmp_path) -> Path:
    """As on a system without abstract names. Returns the temporary folder."""
    monkeypatch.setattr(address, "HAS_ABSTRACT_NAMES", False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def greeting(name: str, user: int) -> bytes:
    """What a process of a user is first sent when it connects to an abstract name: nothing if it is refused."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(user)
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(20)
            client.connect(f"\0{name}")
            os.write(writing, client.recv(1))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        content = pipe.read()
    os.waitpid(child, 0)
    return content


@abstract
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_connection_of_another_user_is_refused(listening):
    name = address.bind(listening).removeprefix("ipc://@")
    assert greeting(name, os.geteuid()) == b"\xff"  # the first byte of ZeroMQ's own
    assert greeting(name, OTHER_USER) == b""


@abstract
def test_an_abstract_name_is_random_and_makes_no_file(listening, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with listening.context.socket(zmq.ROUTER) as another:
        first, second = address.bind(listening), address.bind(another)
    assert first != second
    assert len(first.removeprefix("ipc://@resnet-")) == 32
    assert list(tmp_path.iterdir()) == []


def test_without_abstract_names_the_socket_is_in_a_folder_that_only_its_user_can_enter(listening, folders):
    name = address.bind(listening)
    (folder,) = folders.iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    address.release(name)
    assert list(folders.iterdir()) == []


def test_a_tmpdir_too_long_for_a_socket_is_named_and_left_empty(listening, folders, monkeypatch):
    long = folders / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with pytest.raises(UserError, match="Set TMPDIR to a shorter path"):
        address.bind(listening)
    assert list(long.iterdir()) == []


CLOSE_WHILE_WORKERS_END = """
import random, threading, time, zmq
from resnet.workers import address

for _ in range(500):
    context, clients = zmq.Context(), [zmq.Context() for _ in range(2)]
    listening = context.socket(zmq.ROUTER)
    name = address.bind(listening)
    workers = [client.socket(zmq.DEALER) for client in clients]
    for worker in workers:
        worker.setsockopt(zmq.LINGER, 0)
        worker.connect(name)
        worker.send(b"hello")
    for identity, _ in [listening.recv_multipart() for _ in workers]:
        for _ in range(20):
            listening.send_multipart([identity, bytes(100_000)])
    ends = [threading.Thread(target=client.destroy) for client in clients]
    for end in ends:
        end.start()
    time.sleep(random.random() / 10000)
    context.destroy()
    for end in ends:
        end.join()
    address.release(name)
"""


def test_a_socket_closes_also_while_its_workers_end_with_jobs_unread():
    closing = [sys.executable, "-c", CLOSE_WHILE_WORKERS_END]
    assert subprocess.run(closing, timeout=100).returncode == 0

"""Where workers find their pool: a socket that only processes of the same user can connect to, and that leaves no file.

On Linux its name is in the abstract namespace: it goes with the process, however that ends. Elsewhere it is a file in a
folder that only its user can enter, which a killed process leaves behind.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

import zmq

from resnet.errors import UserError

HAS_ABSTRACT_NAMES = sys.platform.startswith("linux")


def bind(socket: zmq.Socket) -> str:
    """Bind a socket; returns its address. Raises UserError where the temporary folder's path is too long.

    Closing it does not wait for what workers have not read: LINGER is 0. Set only then, as `destroy(linger=0)` does, it
    does not reach a connection whose worker has just ended, which ZeroMQ would wait for without end.
    """
    socket.setsockopt(zmq.LINGER, 0)
    if HAS_ABSTRACT_NAMES:
        socket.setsockopt(zmq.IPC_FILTER_UID, os.geteuid())  # an abstract name has no mode: any user could connect
        address = f"ipc://@resnet-{secrets.token_hex(16)}"
        socket.bind(address)
        return address
    folder = Path(tempfile.mkdtemp(prefix="resnet-"))  # mode 0700
    address = f"ipc://{folder}/jobs"
    try:
        socket.bind(address)
    except zmq.ZMQError as error:  # the path of a socket has some 100 characters at most
        release(address)
        raise UserError(f"no socket can be made in {folder}: {error}. Set TMPDIR to a shorter path.") from None
    return address


def release(address: str) -> None:
    """Remove what `bind` made."""
    if not address.startswith("ipc://@"):
        shutil.rmtree(Path(address.removeprefix("ipc://")).parent, ignore_errors=True)

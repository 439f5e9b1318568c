"""What a pool and its workers say to each other over ZeroMQ: bytes only, nothing is pickled.

worker to owner:  HELLO process id          I have started
                  NOTE text                 a warning to show; it also counts as progress
                  DONE number, parts        the job's result
                  FAILED number, reason     the job cannot be done, and no other worker could do it: a user must act
                  AWAY   number, reason     likewise, for what may pass by itself: a disk that is away
                  FAULT number, traceback   the worker's code is wrong; the number is empty where the setup failed
owner to worker:  SETUP parts               what all jobs have in common: sent once, after HELLO
                  JOB number, parts         do this
"""

from __future__ import annotations

HELLO, NOTE, DONE, FAILED, AWAY = b"hello", b"note", b"done", b"failed", b"away"
FAULT, SETUP, JOB = b"fault", b"setup", b"job"


def text(words: str) -> bytes:
    """Words to be shown. They may have the bytes of a file name that is not UTF-8, which are shown as escapes."""
    return words.encode(errors="backslashreplace")

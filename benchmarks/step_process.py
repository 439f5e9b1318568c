"""A training step in a process of its own, which does a few steps when it is asked to, and otherwise waits.

Started as a script, it takes its task as JSON, makes the contender, says which versions it uses, and then answers
requests: a line of JSON each, {"do": "run", "steps": 3}. A contender is an object whose methods are named in COMMANDS.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from step_task import LeftOut

ROOT = Path(__file__).parent.parent
COMMANDS = {"run", "save", "fed", "check"}


class StepProcess:
    """The side that measures. `facts`: the versions and the device of the contender. Raises LeftOut."""

    def __init__(self, name: str, make: str, task: dict[str, Any], python: str = sys.executable):
        self.name = name
        try:
            self._process = subprocess.Popen(
                [python, __file__, make, json.dumps(task)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=_environment(),
            )
        except OSError as error:
            raise LeftOut(f"{python} cannot be started: {error.strerror}") from None
        self.facts = self._answer()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Have the contender do something; returns what it measured, `seconds` too. Raises LeftOut if it cannot."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has ended: there is no answer
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):  # libraries print notes of their own
                answer = json.loads(line)
                if "left_out" in answer:
                    raise LeftOut(answer["left_out"])
                return answer
        raise LeftOut(f"its process ended with exit code {self._process.wait()}; the reason is above")


def _environment() -> dict[str, str]:
    """With this project on the path, quiet, and without JAX's habit of taking three quarters of a GPU at once."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
    return {**quiet, "XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ, "PYTHONPATH": path}


def main() -> None:
    from resnet.errors import UserError
    from resnet.processes import die_with_parent

    die_with_parent(os.getppid())
    module, _, name = sys.argv[1].partition(":")
    try:
        contender = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
        print(json.dumps(contender.facts), flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            do = request.pop("do")
            assert do in COMMANDS
            print(json.dumps(timed(getattr(contender, do), request)), flush=True)
    except (LeftOut, UserError, ImportError) as error:
        print(json.dumps({"left_out": str(error)}), flush=True)


def timed(work: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """What `work` measured, and the seconds that it took, unless it has measured those itself."""
    start = time.perf_counter()
    figures = work(**arguments)
    return {"seconds": time.perf_counter() - start, **figures}


if __name__ == "__main__":
    main()

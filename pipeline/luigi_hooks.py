"""What this package changes in Luigi and in the interpreter that runs it, all of it installed by one call.

tests/pipeline/test_luigi_hooks.py checks each change against the Luigi in requirements/.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, Protocol, runtime_checkable
from urllib.parse import urlsplit

import luigi.configuration
import luigi.execution_summary
import luigi.worker
from luigi.interface import PidLockAlreadyTakenExit
from luigi.parameter import UnconsumedParameterWarning
from luigi.retcodes import retcode
from luigi.rpc import RemoteScheduler
from luigi.scheduler import FAILED, RUNNING

from resnet import console
from resnet.errors import LockedElsewhere, UserError
from resnet.locks import GLANCE_SECONDS, locked
from resnet.processes import die_with_parent


def install() -> None:
    """Install the configuration, the log filter, and what is said before and after the work."""
    _add_configuration()
    # Luigi reads these settings past the class that it checks them against.
    warnings.filterwarnings("ignore", ".* parameter 'rpc_", UnconsumedParameterWarning)
    console.configure()
    logging.getLogger("luigi-interface").addFilter(OneMessage())
    luigi.worker.Worker.add = _add  # type: ignore[method-assign, assignment]
    luigi.worker.Worker.run = _run  # type: ignore[method-assign]
    luigi.worker.Worker._keep_alive = _keep_alive  # type: ignore[method-assign]
    luigi.worker.TaskStatusReporter.update_tracking_url = _update_tracking_url  # type: ignore[method-assign]


def _add_configuration() -> None:
    """Luigi looks for luigi.cfg in the working folder only. This project's own comes first, so that `luigi` behaves the
    same from any folder; then the working folder's and LUIGI_CONFIG_PATH's, which override it."""
    for path in (Path(__file__).parent / "luigi.cfg", "luigi.cfg", os.environ.get("LUIGI_CONFIG_PATH", "")):
        if os.path.isfile(path):
            luigi.configuration.add_config_path(str(path))


logger = logging.getLogger("luigi-interface")

SCHEDULER_SECONDS = 2.0  # in which luigid must take a connection


class RunLocks:
    """The locks on the runs of a Luigi worker. They are released with the worker, or when its process ends."""

    def __init__(self) -> None:
        self._locks = contextlib.ExitStack()
        self._folders: set[Path] = set()

    def lock(self, folder: Path) -> None:
        """Lock a run's folder; once is enough. Raises LockedElsewhere."""
        if folder not in self._folders:
            self._locks.enter_context(locked(folder, wait=GLANCE_SECONDS))
            self._folders.add(folder)


@runtime_checkable
class Prepared(Protocol):
    """A task that has something to do, or to say, before Luigi schedules it."""

    def prepare(self, locks: RunLocks) -> None:
        """Lock the task's run, and report what Luigi would not report well."""


@runtime_checkable
class Dependent(Protocol):
    """A task that can say what it lacks."""

    def why_not_ready(self) -> str:
        """What the task depends on and lacks; empty where it lacks nothing."""


@runtime_checkable
class Logged(Protocol):
    """A task whose work has a log."""

    def where_more_is_said(self) -> list[str]:
        """Lines for the user about the log, and about what continues the work."""


_schedule = luigi.worker.Worker.add


def _add(worker: luigi.worker.Worker, task: luigi.Task, *args: Any, **kwargs: Any) -> bool:
    """Worker.add, which `luigi` calls with each task that it was asked for: the one place where a run is locked."""
    locks = vars(worker).setdefault("run_locks", RunLocks())
    for ours in _first_of_ours(task):
        try:
            if not getattr(ours, "is_answered_at_once", False):
                require_scheduler(worker._scheduler)
            ours.prepare(locks)
        except LockedElsewhere as error:  # `luigi` exits with its code for "already running"
            print(f"error: {error}", file=sys.stderr)
            raise PidLockAlreadyTakenExit from None
        except UserError as error:
            stop(str(error))
        except OSError as error:
            stop(f"{error.filename} cannot be read: {error.strerror}")
    return _schedule(worker, task, *args, **kwargs)


def require_scheduler(scheduler: object) -> None:
    """Raise UserError where the scheduler is luigid, and does not answer: Luigi itself would try for minutes."""
    if not isinstance(scheduler, RemoteScheduler) or not scheduler._url.startswith("http"):
        return
    place = urlsplit(scheduler._url)
    if "+" in place.scheme:  # a Unix socket
        return
    port = place.port or (443 if place.scheme == "https" else 80)
    try:
        with socket.create_connection((place.hostname or "", port), SCHEDULER_SECONDS):
            pass
    except OSError as error:
        raise UserError(
            f"no scheduler answers at {scheduler._url} ({error.strerror or error}): start one (`make scheduler`, or "
            f"`python -m pipeline.scheduler --port {port}`), or add --local-scheduler."
        ) from None


def end_with_luigi() -> None:
    """With --workers 2 and more, Luigi runs a task in a process of its own, which would outlive a killed `luigi`: have
    the kernel end it, whereupon the stage saves its work."""
    if multiprocessing.parent_process() is not None:
        die_with_parent(os.getppid(), signal.SIGTERM)


def _update_tracking_url(reporter: luigi.worker.TaskStatusReporter, url: str) -> None:
    """As in Luigi, where it also makes the page forget that the task accepts messages."""
    reporter._scheduler.add_task(
        task_id=reporter._task_id, worker=reporter._worker_id, status=RUNNING, tracking_url=url, accepts_messages=None
    )


def _first_of_ours(task: luigi.Task) -> Iterator[Prepared]:
    """The task itself, or the first tasks of this project that a task of somebody else's depends on."""
    if isinstance(task, Prepared):
        yield task
        return
    try:
        needed = task.deps()
    except Exception:  # Luigi meets it too, and reports it
        return
    for dependency in needed:
        yield from _first_of_ours(dependency)


_stay = luigi.worker.Worker._keep_alive


def _keep_alive(worker: luigi.worker.Worker, response: Any) -> bool:
    """Whether to wait for work. Luigi's keep_alive would also wait for tasks that have failed."""
    if _stay(worker, response):
        return True
    if not response.n_pending_tasks or not (waiting := _waiting_for_resources(worker)):
        return False
    if "said_what_it_waits_for" not in vars(worker):
        vars(worker)["said_what_it_waits_for"] = True
        print(f"{waiting.task_family} waits for the scheduler's resource {', '.join(waiting.resources)}", flush=True)
    return True


def _waiting_for_resources(worker: luigi.worker.Worker) -> luigi.Task | None:
    """A task of this worker that could run, if another one had not taken the resources that it needs."""
    totals = {one["name"]: one["num_total"] for one in worker._scheduler.resource_list()}
    failed = {task.task_id for task, status, _ in worker._add_task_history if status == FAILED}
    for task in worker._scheduled_tasks.values():
        is_open = task.resources and task.task_id not in failed and not task.complete()
        if not is_open or not all(needed.complete() for needed in task.deps()):
            continue
        lacking = [name for name, count in task.resources.items() if count > totals.get(name, 1)]
        if not lacking:
            return task
        logger.error("%s needs more of the resource %s than the scheduler has", task.task_family, lacking[0])
    return None


_work = luigi.worker.Worker.run

# Why `luigi` ends with another code than 0 although nothing failed, by Luigi's name for it.
LEFT_OVER = {
    "run_by_other_worker": "another luigi is at work on {tasks}",
    "upstream_run_by_other_worker": "another luigi is at work on what {tasks} depends on",
    "not_run": "{tasks} did not run: another luigi has taken what it depends on, or the scheduler was stopped",
}


def _run(worker: luigi.worker.Worker) -> bool:
    """Worker.run, which does the work. Afterwards, say what is left to others: Luigi's exit code alone says little."""
    succeeded = _work(worker)
    tasks = luigi.execution_summary._summary_dict(worker)
    for status, sentence in LEFT_OVER.items():
        if families := sorted({task.task_family for task in tasks[status]}):
            sentence = sentence.format(tasks=", ".join(families))
            print(f"{sentence}. When that is done, the same command continues.", file=sys.stderr)
    return succeeded


def stop(message: str) -> NoReturn:
    """End `luigi` before anything is scheduled."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(retcode().scheduling_error)


class OneMessage(logging.Filter):
    """Shows an error of the user as one message, where Luigi would print a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith("Data for %s does not exist"):
            return False  # the task has said what is missing, and where it looked
        error = record.exc_info[1] if record.exc_info else None
        task = record.args[-1] if isinstance(record.args, tuple) and record.args else None
        message = str(error) if isinstance(error, UserError) else why_unfulfilled(task, error)
        if message:
            family = getattr(task, "task_family", "pipeline")
            lines = [message, *(task.where_more_is_said() if isinstance(task, Logged) else ())]
            record.msg, record.args, record.exc_info = "%s failed: %s", (family, "\n".join(lines)), None
        return True


def why_unfulfilled(task: object, error: BaseException | None) -> str:
    """What a task lacks that was there when it was scheduled, if that is why it failed; otherwise empty."""
    is_so = isinstance(error, RuntimeError) and str(error).startswith("Unfulfilled ")
    return task.why_not_ready() if is_so and isinstance(task, Dependent) else ""

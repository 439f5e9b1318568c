"""What this package changes in Luigi, checked against the Luigi that is installed."""

import gc
import logging
import pickle
import signal
import subprocess
import sys

import luigi
import luigi.worker
import pytest
from luigi.interface import PidLockAlreadyTakenExit
from luigi.rpc import RemoteScheduler

from pipeline import luigi_hooks
from pipeline.tasks import ConvertRecords, FullRun, Images, Train
from resnet.errors import LockedElsewhere, UserError
from resnet.locks import locked


class Asked(luigi.Task):
    """A task that notes when it is prepared; `problem` is raised then."""

    problem: BaseException | None = None
    prepared = 0

    def prepare(self, locks: luigi_hooks.RunLocks) -> None:
        type(self).prepared += 1
        if self.problem:
            raise self.problem

    def complete(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("url", "port"), [("http://127.0.0.1:9", 9), ("https://127.0.0.1", 443), ("http://127.0.0.1", 80)]
)
def test_a_scheduler_that_does_not_answer_is_looked_for_at_the_port_of_its_address(url, port, monkeypatch):
    def refuse(place, _):
        asked.append(place)
        raise ConnectionRefusedError

    asked: list = []
    monkeypatch.setattr("socket.create_connection", refuse)
    with pytest.raises(UserError, match=rf"no scheduler answers at {url} .*scheduler --port {port}`"):
        luigi_hooks.require_scheduler(RemoteScheduler(url))
    assert asked == [("127.0.0.1", port)]


@pytest.fixture
def worker(monkeypatch) -> luigi.worker.Worker:
    monkeypatch.setattr(Asked, "problem", None)
    monkeypatch.setattr(Asked, "prepared", 0)
    luigi_hooks.install()
    luigi_hooks.install()  # again: changes nothing more
    return luigi.worker.Worker(scheduler=luigi.scheduler.Scheduler())


def test_luigi_schedules_with_worker_add_and_the_task_is_prepared_once_before_that(worker):
    assert worker.add(Asked())
    assert Asked.prepared == 1


def test_tasks_of_others_are_scheduled_unchanged(worker):
    class Other(luigi.Task):
        def complete(self) -> bool:
            return True

    assert worker.add(Other())


def test_a_locked_run_ends_luigi_with_its_code_for_already_running(worker, monkeypatch, capsys):
    monkeypatch.setattr(Asked, "problem", LockedElsewhere("another process (pid 1) has locked /a"))
    with pytest.raises(PidLockAlreadyTakenExit):
        worker.add(Asked())
    assert capsys.readouterr().err == "error: another process (pid 1) has locked /a\n"


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (UserError("no such recipe"), "error: no such recipe\n"),
        (PermissionError(13, "Permission denied", "/data"), "error: /data cannot be read: Permission denied\n"),
    ],
)
def test_what_a_user_can_fix_ends_luigi_with_its_code_for_scheduling_errors(
    worker, monkeypatch, capsys, problem, message
):
    monkeypatch.setattr(Asked, "problem", problem)
    with pytest.raises(SystemExit) as ended:
        worker.add(Asked())
    assert ended.value.code == 35
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("task", [Images, ConvertRecords, Train, FullRun])
def test_every_task_of_the_pipeline_is_prepared(task, tmp_path):
    assert isinstance(task(artifacts=str(tmp_path)), luigi_hooks.Prepared)


def is_locked(folder) -> bool:
    try:
        with locked(folder):
            return False
    except LockedElsewhere:
        return True


def test_a_worker_keeps_the_locks_of_all_its_runs_until_it_goes(worker, tmp_path):
    one, two = (Train(recipe="digits", run=name, artifacts=str(tmp_path)) for name in ("one", "two"))
    for task in (one, two, one):  # Luigi adds a task again whose dependency has disappeared
        worker.add(task)
    assert is_locked(one.experiment.folder)
    assert is_locked(two.experiment.folder)
    vars(worker).clear()
    gc.collect()
    assert not is_locked(one.experiment.folder)


def test_the_runs_that_a_task_of_somebody_elses_depends_on_are_locked_too(worker, tmp_path):
    trainings = [Train(recipe="digits", run=name, artifacts=str(tmp_path)) for name in ("one", "two")]

    class Sweep(luigi.WrapperTask):
        def requires(self):
            return trainings

    worker.add(Sweep())
    assert all(is_locked(task.experiment.folder) for task in trainings)


def test_tasks_can_be_pickled_as_parallel_scheduling_does(tmp_path):
    task = Train(recipe="digits", run="mine", artifacts=str(tmp_path))
    assert pickle.loads(pickle.dumps(task)).ledger.why_incomplete("train") == task.ledger.why_incomplete("train")


def test_a_failed_task_shows_the_users_error_without_a_traceback(worker, caplog):
    class Failing(luigi.Task):
        def complete(self) -> bool:
            return False

        def run(self) -> None:
            raise UserError("the disk is full")

    logger = logging.getLogger("luigi-interface")
    logger.addHandler(caplog.handler)
    try:
        worker.add(Failing())
        assert not worker.run()
    finally:
        logger.removeHandler(caplog.handler)
    said = [record for record in caplog.records if "the disk is full" in record.getMessage()]
    assert {record.getMessage() for record in said} == {"Failing failed: the disk is full"}
    assert all(record.exc_info is None for record in said)


def test_luigi_names_missing_data_in_words_that_the_filter_knows(worker, caplog):
    class Outside(luigi.ExternalTask):
        def complete(self) -> bool:
            return False

    logger = logging.getLogger("luigi-interface")
    logger.addHandler(caplog.handler)
    try:
        worker.add(Outside())
    finally:
        logger.removeHandler(caplog.handler)
    assert not [record for record in caplog.records if "does not exist" in record.getMessage()]


def test_run_is_a_parameter_although_every_luigi_task_has_a_method_run(tmp_path):
    task = Train(recipe="digits", run="mine", artifacts=str(tmp_path))
    assert "run" in dict(Train.get_params())
    assert task.run_name == task.param_kwargs["run"] == task.requires().run_name == "mine"
    assert callable(task.run)
    assert Train.from_str_params(task.to_str_params()).run_name == "mine"


def test_control_c_ends_with_a_line_and_without_a_traceback():
    command = [sys.executable, "-c", "import pipeline; raise KeyboardInterrupt"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGINT  # in a shell: 130
    assert done.stderr == "stopped; the same command continues from here\n"


@pytest.mark.parametrize("module", ["luigi_hooks", "tasks"])
@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "ImportError('no module') from KeyboardInterrupt()"])
def test_control_c_during_an_import_ends_with_a_line_too(module, raised):
    finder = f"""
import sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "pipeline.{module}":
            raise {raised}
sys.meta_path.insert(0, Interrupting())
import pipeline
"""
    done = subprocess.run([sys.executable, "-c", finder], capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr == "stopped; the same command continues from here\n"


def test_a_bug_keeps_its_traceback():
    done = subprocess.run([sys.executable, "-c", "import pipeline; 1 / 0"], capture_output=True, text=True)
    assert done.stderr.startswith("Traceback")
    assert "ZeroDivisionError" in done.stderr


def test_a_task_whose_input_is_displaced_before_it_runs_says_so_without_a_traceback(
    worker, caplog, monkeypatch, tmp_path
):
    task = Train(recipe="digits", run="mine", artifacts=str(tmp_path))

    class Converted(luigi.Task):
        """Complete when it is scheduled, and not any more when Train is to run."""

        asked = 0

        def complete(self) -> bool:
            Converted.asked += 1
            return Converted.asked == 1

    monkeypatch.setattr(Train, "requires", lambda self: Converted())
    logger = logging.getLogger("luigi-interface")
    logger.addHandler(caplog.handler)
    try:
        worker.add(task)
        assert not worker.run()
    finally:
        logger.removeHandler(caplog.handler)
    (said,) = {record.getMessage() for record in caplog.records if "failed" in record.getMessage()}
    assert said.startswith("Train failed: train depends on convert, which is incomplete: it has not run yet. The same ")
    assert all(record.exc_info is None for record in caplog.records)


def test_what_is_left_to_another_luigi_is_said(capsys):
    """Two workers of one scheduler: the second asks for a task that the first is at work on."""
    scheduler = luigi.scheduler.Scheduler()

    class Slow(luigi.Task):
        def complete(self) -> bool:
            return False

    luigi_hooks.install()
    first, second = (luigi.worker.Worker(scheduler=scheduler, worker_id=name) for name in ("first", "second"))
    first.add(Slow())
    scheduler.get_work(worker="first")
    second.add(Slow())
    second.run()
    assert "another luigi is at work on Slow. When that is done, the same command continues." in capsys.readouterr().err

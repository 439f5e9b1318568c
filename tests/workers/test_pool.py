"""Workers that work, end, hang, or never start."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
from worker_scripts import capitals, results, use_script, work

from resnet.errors import UserError
from resnet.processes import ENDING_SIGNALS
from resnet.workers import pool as pool_module
from resnet.workers.pool import WorkerPool

JOBS = [f"job {i}".encode() for i in range(30)]
DONE = [job.upper() for job in JOBS]


@pytest.fixture
def soon(monkeypatch):
    """Check workers more often: tests need not wait."""
    monkeypatch.setattr(pool_module, "POLL_SECONDS", 0.01)


def once(marker: Path, job: str, deed: str) -> str:
    """Lines of a worker that do something at a job, the first time only."""
    return f"""
if parts[0] == {job.encode()!r} and not Path({str(marker)!r}).exists():
    owner.at("cat/5.jpg")
    Path({str(marker)!r}).touch()
    {deed}
"""


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (3, 1), (2, 2)])
def test_every_job_is_done_once(soon, monkeypatch, workers, ahead):
    use_script(monkeypatch, capitals())
    with WorkerPool(workers, work(ahead=ahead)) as pool:
        assert results(pool, JOBS) == DONE


def test_every_worker_gets_the_setup_before_its_first_job(soon, monkeypatch):
    use_script(monkeypatch, capitals("parts = [b'/'.join([*setup, *parts])]"))
    with WorkerPool(2, work(setup=[b"one", b"two"])) as pool:
        assert results(pool, [b"job"]) == [b"ONE/TWO/JOB"]


@pytest.mark.parametrize(
    ("deed", "how"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", r"was ended by signal 9 \(Killed\)"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"was ended by signal 11 \(Segmentation fault\)"),
        ("os._exit(3)", "ended with exit code 3"),
    ],
)
def test_a_worker_that_ends_is_named_with_what_it_was_at_and_its_jobs_are_done_by_another(
    soon, monkeypatch, tmp_path, capfd, deed, how
):
    use_script(monkeypatch, capitals(once(tmp_path / "died", "job 7", deed)))
    with WorkerPool(2, work()) as pool:
        assert results(pool, JOBS) == DONE
    assert re.fullmatch(
        rf"warning: test: worker \d+ {how} at cat/5.jpg; another takes its place\n", capfd.readouterr().err
    )


def test_a_worker_that_ends_before_it_notes_anything_is_named_with_its_job(soon, monkeypatch, tmp_path, capfd):
    deed = once(tmp_path / "died", "job 7", "os._exit(3)").replace('owner.at("cat/5.jpg")', "pass")
    use_script(monkeypatch, capitals(deed))
    with WorkerPool(1, work()) as pool:
        assert results(pool, JOBS) == DONE
    assert "at the job job 7; another" in capfd.readouterr().err


def test_a_note_of_an_earlier_job_is_not_blamed(soon, monkeypatch, capfd):
    use_script(monkeypatch, capitals('os._exit(3) if parts[0] == b"deadly" else owner.at("cat/5.jpg")'))
    with WorkerPool(1, work()) as pool, pytest.raises(UserError, match="at the job deadly"):
        results(pool, [b"fine", b"deadly"])
    assert "cat/5.jpg" not in capfd.readouterr().err


def test_a_note_of_the_worker_before_is_not_blamed(soon, monkeypatch, tmp_path, capfd):
    second = f"if Path({str(tmp_path / 'died')!r}).exists(): os._exit(4)\n"
    use_script(monkeypatch, capitals(second + once(tmp_path / "died", "deadly", "os._exit(3)")))
    with WorkerPool(1, work()) as pool, pytest.raises(UserError, match="exit code 4 at the job deadly"):
        results(pool, [b"deadly"])
    assert "exit code 3 at cat/5.jpg" in capfd.readouterr().err


def test_a_job_that_three_workers_do_not_survive_is_named_with_the_last_process(soon, monkeypatch, capfd):
    use_script(monkeypatch, capitals('owner.at("cat/5.jpg")\nif parts[0] == b"job 7": os._exit(9)'))
    with WorkerPool(2, work()) as pool, pytest.raises(UserError) as error:
        results(pool, JOBS)
    deaths = re.findall(r"worker (\d+) ended with exit code 9 at cat/5.jpg; another", capfd.readouterr().err)
    assert len(deaths) == 2
    said = re.fullmatch(
        r"3 workers of the test did not survive the same work, the last one \(process (\d+)\) ended with exit code 9 "
        r"at cat/5.jpg\. Do something\.",
        str(error.value),
    )
    assert said
    assert said[1] not in deaths


@pytest.mark.parametrize("workers", [1, 8])
def test_workers_that_keep_ending_before_they_finish_anything_stop_the_pool(soon, monkeypatch, capfd, workers):
    use_script(monkeypatch, "raise SystemExit(7)")
    with WorkerPool(workers, work()) as pool, pytest.raises(UserError, match="keep ending before they finish anything"):
        results(pool, JOBS)
    said = capfd.readouterr().err
    assert said.count("ended with exit code 7; another takes its place") == workers * 3
    assert said.count("ended with exit code 7\n") >= 1  # no other is started after the fourth of each


def test_workers_that_never_answer_count_as_stuck(soon, monkeypatch, capfd):
    use_script(monkeypatch, "import signal; signal.pause()")
    with WorkerPool(1, work(stalled_seconds=0.1)) as pool, pytest.raises(UserError, match="keep ending"):
        results(pool, JOBS)
    assert capfd.readouterr().err.count("was stuck for 0 s") == 4


def test_a_stuck_worker_is_killed_and_named_with_what_it_was_at(soon, monkeypatch, tmp_path, capfd):
    use_script(monkeypatch, capitals(once(tmp_path / "stuck", "job 7", "signal.pause()")))
    with WorkerPool(2, work(stalled_seconds=3.0)) as pool:  # a worker needs less to start
        assert results(pool, JOBS) == DONE
    assert re.search(r"worker \d+ was stuck for 3 s at cat/5.jpg; another takes its place", capfd.readouterr().err)


@pytest.mark.parametrize("progress", ['owner.at("an image")', 'owner.warn("slow")'])
def test_a_worker_that_makes_progress_may_take_any_time_for_a_job(soon, monkeypatch, tmp_path, capfd, progress):
    enough, stalled = tmp_path / "enough", 2.0  # s; a worker needs less to start
    long_job = f"while parts[0] == b'long' and not Path({str(enough)!r}).exists():\n    {progress}; time.sleep(0.02)"
    use_script(monkeypatch, capitals(long_job))
    with WorkerPool(1, work(stalled_seconds=stalled)) as pool:
        pool.submit([b"long"])
        start, answers = time.monotonic(), []
        while not answers:
            if time.monotonic() - start > 2 * stalled:
                enough.touch()
            answers = list(pool.done())
    assert answers[0][1] == (b"LONG",)
    assert "stuck" not in capfd.readouterr().err


def test_a_warning_of_a_worker_is_shown_by_its_owner(soon, monkeypatch, capfd):
    use_script(monkeypatch, capitals('owner.warn("caf\\udce9.jpg: the disk is away")'))
    with WorkerPool(1, work()) as pool:
        assert results(pool, [b"job"]) == [b"JOB"]
    assert capfd.readouterr().err == "warning: test: caf\\udce9.jpg: the disk is away\n"


def test_an_error_of_the_user_in_a_worker_is_one_in_its_owner(soon, monkeypatch):
    use_script(monkeypatch, capitals('raise UserError("cat/5.jpg is missing")'))
    with WorkerPool(2, work()) as pool, pytest.raises(UserError, match=r"^cat/5.jpg is missing$"):
        results(pool, JOBS)


@pytest.mark.parametrize("script", [capitals("1 / 0"), capitals().replace("    def do", "    1 / 0\n    def do")])
def test_a_fault_in_a_workers_code_shows_its_traceback(soon, monkeypatch, script):
    use_script(monkeypatch, script)
    with (
        WorkerPool(2, work()) as pool,
        pytest.raises(RuntimeError, match=r"(?s)a worker of the test failed:\nTraceback.*ZeroDivisionError"),
    ):
        results(pool, JOBS)


def test_signals_to_all_processes_do_not_end_workers_even_while_they_start(soon, monkeypatch, capfd):
    use_script(monkeypatch, capitals())
    with WorkerPool(2, work()) as pool:
        list(pool.done())
        for number in ENDING_SIGNALS * 2:  # the workers are not yet known: they are importing
            for worker in pool.workers:
                os.kill(worker.process.pid, number)
        assert results(pool, JOBS) == DONE
    assert capfd.readouterr().err == ""


def test_closing_ends_all_workers_whatever_they_are_at(soon, monkeypatch):
    use_script(monkeypatch, capitals("signal.pause()"))
    pool = WorkerPool(2, work())
    for job in JOBS:
        pool.submit([job])
    while not all(worker.jobs for worker in pool.workers) or not pool.workers:
        list(pool.done())
    processes = [worker.process for worker in pool.workers]
    pool.close()
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * 2


def test_a_pool_leaves_no_descriptor_open(soon, monkeypatch):
    use_script(monkeypatch, capitals())
    before = set(os.listdir("/proc/self/fd"))
    with WorkerPool(2, work()) as pool:
        results(pool, JOBS)
    assert set(os.listdir("/proc/self/fd")) == before

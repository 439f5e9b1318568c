"""How Train starts its hosts, as luigi.cfg says."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys

import pytest

from pipeline.child import run_stage
from pipeline.launcher import Process, hosts, require_launcher, training_processes
from pipeline.tasks import Train
from resnet.errors import UserError
from resnet.processes import PARENT
from resnet.progress import ENVIRONMENT
from resnet.settings import Training

COMMAND = ["python", "-m", "resnet", "train"]


@pytest.fixture
def launched(monkeypatch):
    """launched("local", 3): the processes that luigi.cfg asks for."""

    def of(launcher: str, count: int) -> list[Process]:
        monkeypatch.setattr(hosts, "launcher", launcher)
        monkeypatch.setattr(hosts, "count", count)
        return training_processes(COMMAND)

    return of


def test_without_a_launcher_there_is_one_process_whose_environment_is_not_touched(launched):
    assert launched("none", 1) == [Process(COMMAND)]
    assert launched("local", 1) == [Process(COMMAND)]


@pytest.mark.parametrize(("launcher", "count"), [("none", 4), ("none", 0), ("local", 0), ("srun", 0)])
def test_hosts_that_nothing_would_start_are_one_message(launched, launcher, count):
    launched(launcher, count)
    with pytest.raises(UserError, match=rf"count = {count} under \[hosts\] in luigi.cfg, and launcher = {launcher}"):
        require_launcher(Training())


def test_local_hosts_are_processes_of_one_cluster_the_chief_first(launched):
    processes = launched("local", 3)
    configs = [json.loads(process.environment["TF_CONFIG"]) for process in processes]
    assert [config["task"]["index"] for config in configs] == [0, 1, 2]
    assert all(config["cluster"] == configs[0]["cluster"] for config in configs)
    assert all(address.startswith("127.0.0.1:") for address in configs[0]["cluster"]["worker"])


def test_srun_starts_a_task_a_node_with_nothing_that_belongs_to_this_machine(launched, tmp_path, monkeypatch):
    srun = tmp_path / "srun"
    called = tmp_path / "called"
    srun.write_text(
        f"#!{sys.executable}\n"
        "import json, os, signal, sys\n"
        "blocked = [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])]\n"
        f"json.dump([sys.argv[1:], dict(os.environ), blocked], open({str(called)!r}, 'w'))\n"
    )
    srun.chmod(srun.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(ENVIRONMENT, "17")
    run_stage("train", launched("srun", 4), lambda news: None)
    arguments, environment, blocked = json.loads(called.read_text())
    assert arguments[:2] == ["--ntasks=4", "--ntasks-per-node=1"]
    assert arguments[-len(COMMAND) :] == COMMAND
    assert not [name for name in environment if name in (ENVIRONMENT, PARENT)]
    assert blocked == []


def test_srun_without_slurm_is_one_message(launched, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    launched("srun", 2)
    with pytest.raises(UserError, match=r"in the Slurm job that luigi runs in, and this is none: run luigi in a job"):
        require_launcher(Training())


def test_hosts_that_cannot_share_the_replicas_are_refused_before_anything_runs(luigi, tmp_path, monkeypatch):
    (tmp_path / "luigi.cfg").write_text("[hosts]\nlauncher = local\ncount = 2\n")
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(tmp_path / "luigi.cfg"))
    done = luigi("FullRun", "--artifacts", tmp_path / "artifacts")  # its recipe, `digits`, has one replica
    assert "2 hosts cannot share a recipe of one replica evenly: start 1 host, or set" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "artifacts" / "records").exists()


def test_another_launcher_stops_luigi_with_one_message(luigi, tmp_path, monkeypatch):
    (tmp_path / "luigi.cfg").write_text("[hosts]\nlauncher = mpi\n")
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(tmp_path / "luigi.cfg"))
    done = luigi("Train", "--artifacts", tmp_path / "artifacts")
    assert done.returncode != 0
    assert "luigi.cfg: launcher = mpi under [hosts] must be one of none, local, srun" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_first_message_of_any_process_is_the_stages():
    say = f"import os; os.write(int(os.environ['{ENVIRONMENT}']), b'{{\"error\": \"the disk is full\"}}\\n'); exit(1)"
    with pytest.raises(UserError, match=r"^the disk is full$"):
        run_stage("train", [Process(python("exit(1)")), Process(python(say))], lambda news: None)


def test_where_one_process_cannot_be_started_those_before_it_are_ended(monkeypatch):
    started, popen = [], subprocess.Popen

    def noted(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    waits = Process(python("import signal; signal.pause()"))
    with pytest.raises(FileNotFoundError):
        run_stage("train", [waits, Process(["/no/such/command"])], lambda news: None)
    assert [process.returncode for process in started] == [-signal.SIGKILL]


def test_the_chiefs_success_counts():
    run_stage("train", [Process(python("")), Process(python("exit(130)"))], lambda news: None)


def test_a_chief_that_was_killed_is_told_as_that_and_not_as_the_others_see_it():
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    say = f"import os; os.write(int(os.environ['{ENVIRONMENT}']), b'{{\"error\": \"host 0 was lost\"}}\\n'); exit(1)"
    with pytest.raises(UserError, match=r"^python -m resnet train was killed: by hand, or by the kernel"):
        run_stage("train", [Process(python(kill)), Process(python(say))], lambda news: None)


def test_hosts_under_srun_that_were_interrupted_are_told_as_that():
    with pytest.raises(UserError, match=r"^train was interrupted; the same command continues it$"):
        run_stage("train", [Process(python("exit(130)"), is_child=False)], lambda news: None)


def test_a_stage_that_is_complete_does_not_fail_because_another_host_did(monkeypatch, tmp_path, capsys):
    def fail(*_):
        raise UserError("python -m resnet train ended with exit code 137")

    task = Train(artifacts=str(tmp_path))
    reasons = iter(["it has not run yet", ""])
    monkeypatch.setattr(task.ledger, "why_incomplete", lambda stage: next(reasons))
    monkeypatch.setattr("pipeline.stage_task.run_stage", fail)
    task.run()
    assert "Train: it is complete; what was said in the end: python -m resnet train ended" in capsys.readouterr().out


def test_one_host_of_a_real_training_is_the_chief_and_writes(luigi, tmp_path, monkeypatch):
    """The whole command, with two hosts."""
    (tmp_path / "luigi.cfg").write_text("[hosts]\nlauncher = local\ncount = 2\n")
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(tmp_path / "luigi.cfg"))
    settings = [
        "model.depth=8",
        "dataset.validation_fraction=0.9",
        "training.batch_size=32",
        "training.replica_batch_size=16",
        "training.epochs=1",
        "training.drop_epochs=[]",
    ]
    done = luigi("Train", "--recipe", "digits", "--artifacts", tmp_path / "a", "--override", json.dumps(settings))
    assert done.returncode == 0, done.stderr
    assert "on 2 hosts with CPU" in done.stdout
    record = json.loads((tmp_path / "a" / "runs" / "digits" / "train" / "stage.json").read_text())
    assert record["hosts"] == 2
    assert len(record["devices"]) == 2
    assert done.stderr.count("epoch 1/1") == 1  # the other host says nothing

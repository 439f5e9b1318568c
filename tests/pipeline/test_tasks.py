import errno
import gc
import signal
import subprocess
import sys

import pytest
from luigi.cmdline_parser import CmdlineParser

from pipeline import configuration
from pipeline.child import Running, run_stage
from pipeline.launcher import Process
from pipeline.luigi_hooks import RunLocks
from pipeline.tasks import ConvertRecords, FullRun, Images, Report, Train
from resnet.errors import LockedElsewhere, Passing, UserError
from resnet.locks import locked
from resnet.stage_table import STAGES

SETTINGS = ("training.epochs=3", "training.epochs=4")


@pytest.fixture
def task(tmp_path) -> Train:
    return Train(recipe="digits", run="mine", artifacts=str(tmp_path), data="", override=("training.epochs=3",))


def test_the_tasks_depend_on_each_other_as_the_stages_do(task):
    assert task.requires().stage == "convert"
    assert set(STAGES[task.stage].inputs) == {"convert"}


def test_complete_prints_nothing_locks_nothing_and_writes_nothing(tmp_path, capfd):
    for task in (FullRun, Report, Train, ConvertRecords, Images):
        asked = task(recipe="imagefolder", run="mine", artifacts=str(tmp_path / "a"), data=str(tmp_path / "nowhere"))
        assert not asked.complete()
    assert not (tmp_path / "a").exists()
    assert capfd.readouterr() == ("", "")


def test_a_run_is_locked_when_it_is_prepared_and_until_the_locks_are_released(task):
    locks = RunLocks()
    task.prepare(locks)
    with pytest.raises(LockedElsewhere), locked(task.experiment.folder):
        pass
    del locks
    gc.collect()
    with locked(task.experiment.folder):
        pass


def test_conversion_does_not_lock_the_run_so_that_several_hosts_can_do_it(tmp_path):
    locks = RunLocks()
    ConvertRecords(recipe="digits", run="mine", artifacts=str(tmp_path)).prepare(locks)
    assert not (tmp_path / "runs").exists()


def test_the_tasks_of_a_run_share_its_ledger_so_that_the_images_are_looked_at_once(task):
    assert task.requires().ledger is task.ledger


def test_overrides_add_up_when_the_option_is_repeated(tmp_path):
    given = ["Train", "--override", "training.epochs=3", "--override", '["training.seed=1", "model.depth=32"]']
    with CmdlineParser.global_instance([*given, "--run", "mine", "--artifacts", str(tmp_path)]) as parser:
        recipe = parser.get_task_obj().experiment.recipe
    assert (recipe.training.epochs, recipe.training.seed, recipe.model.depth) == (3, 1, 32)


def test_a_task_is_named_by_its_run_and_shows_only_what_is_not_left_at_its_default(task, tmp_path):
    shown = {name for name, visibility in task._get_param_visibilities().items() if visibility == 0}
    assert task.task_id.startswith("Train_mine_")
    assert shown == {"recipe", "run", "override"}
    assert FullRun(artifacts=str(tmp_path)).to_str_params()["run"] == "digits"


def test_tasks_that_differ_in_any_setting_or_folder_are_different_tasks(tmp_path):
    tasks = [Train(artifacts=str(tmp_path / name), override=(setting,)) for name in "ab" for setting in SETTINGS]
    assert len({task.task_id for task in tasks}) == len(set(tasks)) == 4
    again = Train(artifacts=str(tmp_path / "a"), override=(SETTINGS[0],), discard="train")
    assert again.task_id == tasks[0].task_id  # what makes way changes nothing of what is asked for


def test_a_disk_that_is_away_is_tried_again_although_nobody_sees_how_far_the_stage_is(task, monkeypatch):
    attempts = []

    def away(*_):
        raise OSError(errno.EIO, "Input/output error")

    def fail_once(*_):
        attempts.append(monkeypatch.setattr("pathlib.Path.glob", away))
        if len(attempts) == 1:
            raise Passing("the disk is away")

    monkeypatch.setattr(configuration.pipeline, "retry_seconds", 0)
    monkeypatch.setattr("pipeline.stage_task.run_stage", fail_once)
    task.run()
    assert len(attempts) == 2


def test_a_stage_that_computes_takes_as_many_gpus_of_the_scheduler_as_luigi_cfg_says(tmp_path, monkeypatch):
    assert Train(artifacts=str(tmp_path)).resources == {}  # no GPU here
    monkeypatch.setattr(configuration.pipeline, "gpu", 1)
    assert Train(artifacts=str(tmp_path / "b")).resources == {"gpu": 1}
    assert Report(artifacts=str(tmp_path / "b")).resources == {}


@pytest.mark.parametrize(("code", "kind"), [(75, Passing), (1, UserError)])
def test_what_may_pass_is_told_from_mistakes_by_the_exit_code(code, kind):
    command = [sys.executable, "-c", f"import sys; sys.exit({code})"]
    with pytest.raises(UserError) as caught:
        run_stage("train", [Process(command)], lambda news: None)
    assert type(caught.value) is kind


def test_a_stop_that_comes_before_the_processes_reaches_them():
    running = Running()
    running.stop()
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    child = subprocess.Popen(command)
    running.follow([(child, Process(command))])
    assert child.wait(60) == -signal.SIGTERM

import gc

import pytest
from luigi.cmdline_parser import CmdlineParser

from pipeline.luigi_hooks import RunLocks
from pipeline.tasks import ConvertRecords, FullRun, Images, Report, Train
from resnet.errors import LockedElsewhere
from resnet.locks import locked
from resnet.stage_table import STAGES


@pytest.fixture
def task(tmp_path) -> Train:
    return Train(recipe="digits", run="mine", artifacts=str(tmp_path), data="", override=("training.epochs=3",))


def test_the_tasks_depend_on_each_other_as_the_stages_do(task):
    assert task.requires().stage == "convert"
    assert set(STAGES[task.stage].inputs) == {"convert"}


def test_progress_reaches_the_scheduler_in_percent(task):
    shown = []
    task.set_progress_percentage = shown.append
    task.set_status_message = shown.append
    task.show_progress({"fraction": 0.12345, "message": "step 3"})
    assert shown == [12.3, "step 3"]


def test_a_scheduler_that_does_not_answer_gets_no_messages_for_a_while(task):
    calls = []

    def down(message):
        calls.append(message)
        raise ConnectionError("nobody there")

    task.set_status_message = down
    task.set_progress_percentage = down
    for _ in range(100):
        task.show_progress({"message": "still running"})
    assert calls == ["still running"]


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

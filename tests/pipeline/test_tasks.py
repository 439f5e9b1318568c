import pytest

from pipeline.tasks import Train
from resnet.artifacts import STAGES


@pytest.fixture
def task(tmp_path) -> Train:
    return Train(recipe="digits", run="mine", artifacts=str(tmp_path), data="", override=("training.epochs=3",))


def test_the_name_of_the_run_is_a_parameter_though_every_task_has_a_method_of_that_name(task):
    assert task.run_name == "mine"
    assert callable(task.run)
    assert task.param_kwargs["run"] == "mine"
    assert task.requires().run_name == "mine"


def test_the_tasks_stand_in_the_order_of_the_stages(task):
    assert task.requires().stage == "convert"
    assert set(STAGES[task.stage].inputs) == {"convert"}


def test_progress_reaches_the_scheduler_in_percent(task):
    told = []
    task.set_progress_percentage = told.append
    task.set_status_message = told.append
    task._show({"fraction": 0.12345, "message": "step 3"})
    assert told == [12.3, "step 3"]


def test_a_scheduler_that_does_not_answer_is_spared_the_next_messages(task):
    calls = []

    def down(message):
        calls.append(message)
        raise ConnectionError("nobody there")

    task.set_status_message = down
    task.set_progress_percentage = down
    for _ in range(100):
        task._show({"message": "still at work"})
    assert calls == ["still at work"]

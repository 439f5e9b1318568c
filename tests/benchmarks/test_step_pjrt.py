"""An exported step under JAX: it trains as TensorFlow does. JAX is not a dependency of the project.

pip install --target /tmp/jax jax && PYTHONPATH=/tmp/jax pytest tests/benchmarks/test_step_pjrt.py
"""

from __future__ import annotations

import pytest

pytest.importorskip("jax", reason="JAX is not installed; only this comparison needs it")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """The step of ResNet-20 on two images of 8x8 pixels, exported with TensorFlow's state after three steps."""
    import tensorflow as tf
    from step_contenders import made_step, recipe_of
    from step_export import export_step
    from step_task import StepTask

    task = StepTask(20, 2, 8, 10, "float32", "1x1", False, "")
    made = made_step(recipe_of(task, False), task.classes, tf.distribute.OneDeviceStrategy("/cpu:0"))
    folder = tmp_path_factory.mktemp("exported") / "step"
    export_step(*made, task, folder, check_steps=3)
    return str(folder)


@pytest.fixture(scope="module")
def step(folder):
    from step_pjrt import PjrtStep

    return PjrtStep(folder)


def test_three_steps_leave_the_state_that_tensorflow_has_after_three(step):
    found = step.check()
    assert (found["steps"], found["variables"]) == (3, 173)
    assert found["greatest"] < 1e-4, found["name"]


def test_the_state_stays_on_the_device_and_its_memory_is_used_again(step):
    before = list(step._state)
    step.run(1)
    assert all(array.is_deleted() for array in before)


def test_fed_steps_train_on_the_loaders_images(folder, photo_records):
    from step_pjrt import PjrtStep

    figures = PjrtStep(folder, records=str(photo_records.folder)).fed(workers=1, steps=3)
    assert 0 <= figures["waiting"] <= figures["seconds"]

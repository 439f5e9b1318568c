from __future__ import annotations

import pytest
import tensorflow as tf


@pytest.fixture(autouse=True, scope="module")
def full_float32_products():
    """Newer GPUs otherwise round factors to 10 bits (TF32), which exceeds the differences tested here."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    yield
    tf.config.experimental.enable_tensor_float_32_execution(before)

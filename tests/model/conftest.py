import pytest
import tensorflow as tf


@pytest.fixture(autouse=True, scope="module")
def products_in_full_float32():
    """On newer GPUs TensorFlow otherwise rounds factors to 10 bits (TF32), far above the differences tested here."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    yield
    tf.config.experimental.enable_tensor_float_32_execution(before)

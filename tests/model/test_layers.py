"""Convolution, batch normalisation and classifier, each compared with its definition."""

from __future__ import annotations

import numpy as np
import pytest

from resnet.model.layers import BatchNorm, Conv, Dense, Replicas

ROUNDING = {"rtol": 1e-5, "atol": 1e-5}  # of values about 1


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("size", [8, 9, 14, 15])
@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_a_strided_convolution_centres_its_outputs_on_every_second_input_pixel(kernel: int, size: int):
    """TensorFlow's SAME fails this for even sizes, which is every layer of a network for 224 pixels."""
    x = values(2, size, size, 3)
    strided, unstrided = Conv("c", 3, 4, kernel, 2, seed=0), Conv("c", 3, 4, kernel, 1, seed=0)
    np.testing.assert_allclose(strided(x), unstrided(x)[:, ::2, ::2], **ROUNDING)


@pytest.mark.parametrize(("kernel", "stride", "size"), [(3, 1, 8), (3, 1, 9), (1, 2, 9), (3, 2, 9), (7, 2, 15)])
def test_mirroring_the_image_and_the_kernel_mirrors_the_output(kernel: int, stride: int, size: int):
    """With a stride of 2 the sizes are odd, so that an output pixel is centred on the first and on the last column."""
    x = values(2, size, size, 3)
    conv = Conv("c", 3, 4, kernel, stride, seed=0)
    y = conv(x)
    conv.kernel.assign(conv.kernel[:, ::-1])
    np.testing.assert_allclose(conv(x[:, :, ::-1])[:, :, ::-1], y, **ROUNDING)


def test_a_new_convolution_has_he_initialisation_with_fan_out():
    kernel = Conv("c", 256, 512, 3, 1, seed=0).kernel.numpy()
    assert kernel.std() == pytest.approx(np.sqrt(2 / (3 * 3 * 512)), rel=0.005)  # 5 deviations of 1.2 million draws
    assert abs(kernel.mean()) < 0.005 * kernel.std()


def test_a_new_classifier_has_standard_deviation_0_01_and_zero_bias():
    dense = Dense("d", 512, 1000, seed=0)
    assert dense.kernel.numpy().std() == pytest.approx(0.01, rel=0.005)
    assert not dense.bias.numpy().any()


def test_a_new_batch_normalisation_changes_its_input_by_epsilon_only():
    x = values(4, 3, 3, 5)
    np.testing.assert_allclose(BatchNorm("n", 5)(x, None), x / np.sqrt(1 + 1e-5), **ROUNDING)


def test_batch_normalisation_in_training_uses_the_batch_and_reports_its_mean_and_unbiased_variance():
    x = 3 * values(4, 3, 3, 5) + np.arange(5, dtype=np.float32)
    norm = norm_with_random_variables(5)
    batch = Replicas(1)
    y = norm(x, batch)
    expected = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5) * norm.scale + norm.offset
    np.testing.assert_allclose(y, expected, **ROUNDING)
    [(mean, variance)] = batch.statistics
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)), **ROUNDING)
    np.testing.assert_allclose(variance, x.var((0, 1, 2), ddof=1), **ROUNDING)


def test_replicas_are_normalised_each_by_its_own_images_and_their_statistics_added_up():
    x = values(6, 3, 3, 5) * np.arange(1, 7, dtype=np.float32).reshape(-1, 1, 1, 1)
    norm = norm_with_random_variables(5)
    together, apart = Replicas(3), [Replicas(1) for _ in range(3)]
    y = norm(x, together)
    parts = [norm(x[2 * i : 2 * i + 2], one) for i, one in enumerate(apart)]
    np.testing.assert_array_equal(y, np.concatenate(parts))
    for found, *each in zip(together.statistics[0], *(one.statistics[0] for one in apart), strict=True):
        np.testing.assert_allclose(found, sum(each), **ROUNDING)


def test_batch_normalisation_in_inference_uses_the_stored_mean_and_variance():
    x = values(4, 3, 3, 5)
    norm = norm_with_random_variables(5)
    expected = (x - norm.mean) / np.sqrt(norm.variance + 1e-5) * norm.scale + norm.offset
    np.testing.assert_allclose(norm(x, None), expected, **ROUNDING)


@pytest.mark.parametrize("replicas", [None, Replicas(2)], ids=["inference", "training"])
def test_batch_normalisation_does_not_change_its_variables(replicas: Replicas | None):
    norm = norm_with_random_variables(5)
    before = [variable.numpy() for variable in norm.variables]
    norm(values(4, 3, 3, 5), replicas)
    assert all(np.array_equal(old, new) for old, new in zip(before, norm.variables, strict=True))


def norm_with_random_variables(channels: int) -> BatchNorm:
    """The variance is small, so that epsilon matters."""
    random = np.random.default_rng(4)
    norm = BatchNorm("n", channels)
    for variable in (norm.scale, norm.offset, norm.mean):
        variable.assign(random.standard_normal(channels))
    norm.variance.assign(random.uniform(0.001, 0.1, channels))
    return norm

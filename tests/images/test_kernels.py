"""Kernels compile, and keep their code if they can."""

from __future__ import annotations

import pytest

from resnet.images.kernels import inlined, kernel


@pytest.fixture
def no_folder_is_writable(monkeypatch):
    # numba's own list of cache folders: root, who may run these tests, can write to every real one.
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])


def test_kernels_compile_without_a_writable_cache_folder(no_folder_is_writable):
    @inlined
    def double(number):
        return 2 * number

    @kernel
    def double_and_one(number):
        return double(number) + 1

    assert double_and_one(20) == 41
    assert double_and_one.signatures


def test_the_code_of_kernels_is_cached():
    from resnet.images.entropy import read

    assert read.stats.cache_path

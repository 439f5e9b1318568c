import pytest

from resnet.images.kernels import inlined, kernel


@pytest.fixture
def no_folder_can_be_written(monkeypatch):
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])


def test_kernels_are_compiled_where_their_code_cannot_be_kept(no_folder_can_be_written):
    @inlined
    def double(number):
        return 2 * number

    @kernel
    def double_and_one(number):
        return double(number) + 1

    assert double_and_one(20) == 41
    assert double_and_one.signatures


def test_the_code_of_kernels_is_kept():
    from resnet.images.entropy import read

    assert read.stats.cache_path

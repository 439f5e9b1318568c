import gc
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from loader_streams import digests, training
from sample_images import photographs, write_records

from resnet.errors import UserError
from resnet.loader import loader as loader_module
from resnet.loader.loader import Batch, Loader
from resnet.loader.sampler import EvaluationSampler
from resnet.loader.transforms import CenterCrop
from resnet.records.shards import RecordReader, ShardedRecords


@pytest.fixture(scope="module")
def expected(photo_records) -> list[str]:
    return digests(training(photo_records, workers=1))


@pytest.mark.parametrize("workers", [2, 5])
def test_the_stream_is_the_same_for_any_number_of_workers(photo_records, expected, workers):
    assert digests(training(photo_records, workers=workers)) == expected


def test_a_start_at_any_step_continues_the_same_stream(photo_records, expected):
    assert digests(training(photo_records, first=5)) == expected[5:]


def test_a_killed_worker_is_replaced_and_the_stream_does_not_change(photo_records, expected):
    found = []
    with training(photo_records) as loader:
        for batch in loader:
            if batch.step in (2, 6):
                os.kill(loader.pool.workers[0].process.pid, signal.SIGKILL)
            found.append(hashlib.sha256(batch.images.tobytes() + batch.labels.tobytes()).hexdigest())
            del batch
    assert found == expected


WAYS = [{"policy": "randaugment"}, {"policy": "trivialaugment"}, {"erasing": 0.5}]


@pytest.mark.parametrize("changes", WAYS)
def test_a_policy_and_erasing_give_the_same_stream_for_any_number_of_workers_and_start(photo_records, changes):
    whole = digests(training(photo_records, workers=1, **changes))
    assert digests(training(photo_records, workers=3, first=5, **changes)) == whole[5:]
    assert not set(whole) & set(digests(training(photo_records, workers=1)))


def test_erasing_moves_no_other_random_numbers(square_records):
    assert digests(training(square_records, erasing=1e-9)) == digests(training(square_records))


def test_images_grow_by_the_number_of_the_step_and_show_the_same(photo_records):
    """Each slot is filled with small images first and with large ones later."""
    found = {}
    with training(
        photo_records, size=64, size_of=lambda step: 16 if step < 7 else 64, color=False, scale_min=64, scale_max=90
    ) as loader:
        for batch in loader:
            found[batch.step] = batch.images.copy()
            del batch
    assert [images.shape[1] for images in found.values()] == [16] * 7 + [64] * 5
    with training(photo_records, size=64, color=False, scale_min=64, scale_max=90) as loader:
        for batch in loader:
            if batch.step >= 7:
                np.testing.assert_array_equal(found[batch.step], batch.images)
            else:
                small = batch.images.reshape(16, 16, 4, 16, 4, 3).mean((2, 4))
                assert np.abs(small - found[batch.step]).mean() < 3
            del batch


def test_another_seed_gives_another_stream(photo_records, expected):
    assert not set(digests(training(photo_records, seed=2))) & set(expected)


def test_an_epoch_has_every_image_once_with_its_label(square_records):
    with training(square_records, last=37, batch_size=4, size=16, crop="pad", padding=0, color=False) as loader:
        pairs = [
            (int(image[0, 0, 0]), int(label))
            for batch in loader
            for image, label in zip(batch.images, batch.labels, strict=True)
        ]
    assert all(label == grey % 3 for grey, label in pairs)
    for epoch in range(4):
        assert sorted(grey for grey, _ in pairs[37 * epoch : 37 * (epoch + 1)]) == list(range(37))


def evaluation(records, batch_size) -> list[Batch]:
    sampler = EvaluationSampler(len(records), batch_size)
    with Loader(
        records, sampler, [CenterCrop(16)], 16, first_step=0, last_step=sampler.steps, workers=2, filenames=True
    ) as loader:
        return [batch._replace(images=batch.images.copy()) for batch in loader]


@pytest.mark.parametrize("batch_size", [1, 5, 37, 100])
def test_evaluation_sees_every_image_once_with_its_name_at_any_batch_size(square_records, batch_size):
    batches = evaluation(square_records, batch_size)
    names = [name for batch in batches for name in batch.filenames]
    greys = np.concatenate([batch.images[:, 0, 0, 0] for batch in batches])
    assert names == [f"train-{grey}.jpg" for grey in greys]
    assert sorted(greys) == list(range(37))
    assert np.concatenate([batch.labels for batch in batches]).tolist() == [grey % 3 for grey in greys]


def test_a_batch_keeps_its_pixels_while_anything_refers_to_them(photo_records, expected):
    with training(photo_records, last=loader_module.MIN_SLOTS + 4) as loader:
        batches = iter(loader)
        kept = next(batches).images[3:5]  # a slice alone keeps the slot
        before = kept.copy()
        for _ in range(loader_module.MIN_SLOTS + 2):
            next(batches)  # and nothing of it is kept
        np.testing.assert_array_equal(kept, before)


def test_pixels_are_aligned_for_tensorflow_and_outlive_the_loader(photo_records):
    with training(photo_records, last=1) as loader:
        batch = next(iter(loader))
        address = batch.images.__array_interface__["data"][0]
        before = batch.images.copy()
    assert address % 64 == 0
    assert batch.images.dtype == np.uint8
    assert batch.labels.dtype == np.int32
    np.testing.assert_array_equal(batch.images, before)


def test_a_closed_loader_yields_no_more_batches_and_says_so(photo_records):
    loader = training(photo_records)
    loader.close()
    with pytest.raises(RuntimeError, match="the loader is closed"):
        next(iter(loader))


def test_a_sigterm_to_the_whole_process_group_does_not_end_the_workers(photo_records, capfd):
    with training(photo_records, last=40) as loader:
        for batch in loader:
            if batch.step == 2:
                for worker in loader.pool.workers:
                    os.kill(worker.process.pid, signal.SIGTERM)
            del batch
    assert capfd.readouterr().err == ""


def test_closing_early_leaves_no_process_and_no_file(photo_records, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    loader = training(photo_records, last=1000)
    next(iter(loader))
    processes = [worker.process for worker in loader.pool.workers]
    loader.close()
    assert all(process.poll() is not None for process in processes)
    assert list(tmp_path.iterdir()) == []


def test_a_trainer_that_is_killed_leaves_no_worker_and_no_file(photo_records, tmp_path):
    folder = photo_records.shards[0].parent
    code = f"""
import sys, time
from pathlib import Path
from resnet.loader.loader import Loader
from resnet.loader.sampler import TrainingSampler
from resnet.loader.transforms import CenterCrop
from resnet.records.shards import ShardedRecords
records = ShardedRecords(Path({str(folder)!r}), "train")
sampler = TrainingSampler(50, 8, 0)
loader = Loader(records, sampler, [CenterCrop(32)], 32, first_step=0, last_step=10**6, workers=2)
next(iter(loader))
print(*(worker.process.pid for worker in loader.pool.workers), flush=True)
sys.stdin.read()
"""
    trainer = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    workers = [int(pid) for pid in trainer.stdout.readline().split()]
    assert len(workers) == 2
    descriptors = [os.pidfd_open(pid) for pid in workers]
    trainer.kill()
    trainer.communicate()
    for descriptor in descriptors:  # becomes readable when the process ends
        assert _ends_within(descriptor, seconds=2)
        os.close(descriptor)
    assert list(tmp_path.iterdir()) == []


def _ends_within(pid_descriptor: int, seconds: float) -> bool:
    import select

    return bool(select.select([pid_descriptor], [], [], seconds)[0])


def test_a_batch_that_outlives_the_loader_writes_to_no_file(photo_records, tmp_path):
    loader = training(photo_records, last=1)
    kept = next(iter(loader)).images
    loader.close()
    with open(tmp_path / "file", "wb") as file:  # may get the number of the loader's pipe
        others = [os.dup(file.fileno()) for _ in range(20)]
        del kept
        gc.collect()
        for descriptor in others:
            os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b""


def test_a_worker_reads_more_shards_than_it_may_have_open(tmp_path):
    write_records(tmp_path, "train", photographs(12), shards=6)
    records = ShardedRecords(tmp_path, "train")
    reader = RecordReader(records.shards, most_open=2)
    for shard, offset, length, _ in records.index.tolist() * 2:
        assert reader.payload(shard, offset, length)
        assert reader.open_files <= 2
    reader.close()


def test_no_slot_is_lost_when_batches_are_dropped_by_the_collector(photo_records):
    with training(photo_records, last=3 * loader_module.MIN_SLOTS) as loader:
        for batch in loader:
            cycle: list = [batch]
            cycle.append(cycle)
            del batch, cycle
            gc.collect()


def test_a_folder_without_records_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match="Run ConvertRecords first"):
        ShardedRecords(Path(tmp_path), "train")


def test_a_stream_ends_early_if_it_should_stop_while_a_batch_is_waited_for(photo_records, expected):
    seen: list[int] = []
    with training(photo_records, last=10_000, should_stop=lambda: len(seen) >= 2) as loader:
        for batch in loader:
            seen.append(batch.step)
            if len(seen) == 2:
                for worker in loader.pool.workers:  # so that a batch is waited for, once those at hand are used up
                    os.kill(worker.process.pid, signal.SIGSTOP)
    assert seen[:2] == [0, 1]
    assert len(seen) < 10_000

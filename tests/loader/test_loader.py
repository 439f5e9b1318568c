import gc
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sample_images import photographs, write_records

from resnet.errors import UserError
from resnet.loader import crew as crew_module
from resnet.loader import loader as loader_module
from resnet.loader.augmentation import augment, draws
from resnet.loader.loader import Batch, Loader
from resnet.loader.order import EvaluationOrder, TrainingOrder
from resnet.records.example import encoded_image
from resnet.records.regions import open_image
from resnet.records.shards import RecordReader, ShardedRecords
from resnet.settings import Augmentation


def training(
    records, *, first=0, last=12, workers=2, batch_size=16, size=32, seed=1, max_corrupt=0, **changes
) -> Loader:
    return Loader(
        records,
        TrainingOrder(len(records), batch_size, seed),
        size,
        first_step=first,
        last_step=last,
        workers=workers,
        seed=seed,
        augmentation=Augmentation(**{"scale_min": 40, "scale_max": 60} | changes),
        max_corrupt=max_corrupt,
    )


def digests(loader: Loader) -> list[str]:
    with loader:
        return [hashlib.sha256(batch.images.tobytes() + batch.labels.tobytes()).hexdigest() for batch in loader]


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
                os.kill(loader._crew._workers[0].process.pid, signal.SIGKILL)
            found.append(hashlib.sha256(batch.images.tobytes() + batch.labels.tobytes()).hexdigest())
            del batch
    assert found == expected


def test_another_seed_gives_another_stream(photo_records, expected):
    assert not set(digests(training(photo_records, seed=2))) & set(expected)


def test_images_and_labels_belong_together_in_an_epoch_that_has_each_once(square_records):
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
    order = EvaluationOrder(len(records), batch_size)
    with Loader(
        records, order, 16, first_step=0, last_step=order.steps, workers=2, shorter_side=16, filenames=True
    ) as loader:
        return [batch._replace(images=batch.images.copy()) for batch in loader]


@pytest.mark.parametrize("batch_size", [1, 5, 37, 100])
def test_evaluation_shows_every_image_once_with_its_name_at_any_batch_size(square_records, batch_size):
    batches = evaluation(square_records, batch_size)
    names = [name for batch in batches for name in batch.filenames]
    greys = np.concatenate([batch.images[:, 0, 0, 0] for batch in batches])
    assert names == [f"train-{grey}.jpg" for grey in greys]
    assert sorted(greys) == list(range(37))
    assert np.concatenate([batch.labels for batch in batches]).tolist() == [grey % 3 for grey in greys]


def test_a_batch_keeps_its_pixels_for_as_long_as_anything_refers_to_them(photo_records, expected):
    with training(photo_records, last=loader_module.LEAST_SLOTS + 4) as loader:
        batches = iter(loader)
        kept = next(batches).images[3:5]  # a slice alone keeps the slot
        before = kept.copy()
        for _ in range(loader_module.LEAST_SLOTS + 2):
            next(batches)  # and nothing of it is kept
        np.testing.assert_array_equal(kept, before)


def test_pixels_are_aligned_as_tensorflow_wants_them_and_outlive_the_loader(photo_records):
    with training(photo_records, last=1) as loader:
        batch = next(iter(loader))
        address = batch.images.__array_interface__["data"][0]
        before = batch.images.copy()
    assert address % 64 == 0
    assert batch.images.dtype == np.uint8
    assert batch.labels.dtype == np.int32
    np.testing.assert_array_equal(batch.images, before)


def damage(folder: Path, record: int) -> tuple[int, int]:
    """Change a byte of a record's image; returns shard and offset of the record."""
    shard, offset, length, _ = ShardedRecords(folder, "train").index[record].item()
    path = ShardedRecords(folder, "train").shards[shard]
    content = bytearray(path.read_bytes())
    content[offset + length // 2] ^= 1
    path.write_bytes(content)
    return shard, offset


@pytest.fixture
def some_records(tmp_path) -> Path:
    images = [(encoded, i // 3 % 3) for i, (encoded, _) in enumerate(photographs(20))]  # neighbours of other classes
    write_records(tmp_path, "train", images, shards=2)
    return tmp_path


def test_a_damaged_record_stops_the_loader_and_is_named_with_its_place(some_records):
    shard, offset = damage(some_records, 7)
    with pytest.raises(UserError) as error:
        digests(training(ShardedRecords(some_records, "train")))
    assert f"train-0000{shard}-of-00002: the record at byte {offset} is damaged: its checksum" in str(error.value)
    assert "records.max_corrupt is 0" in str(error.value)
    assert "run ConvertRecords" in str(error.value)


def test_a_damaged_record_in_a_file_used_where_it_lies_is_not_answered_with_deleting_the_link(some_records, tmp_path):
    damage(some_records, 3)
    for shard in some_records.glob("train-*"):
        shard.rename(tmp_path / f"their-{shard.name}")
        shard.symlink_to(tmp_path / f"their-{shard.name}")
    with pytest.raises(UserError, match=rf"link to {tmp_path}/their-train-0000[01]-of-00002: fetch that file") as error:
        digests(training(ShardedRecords(some_records, "train")))
    assert "delete" not in str(error.value)


@pytest.mark.parametrize("workers", [1, 3])
def test_damaged_records_up_to_the_cap_give_way_to_the_next_images_of_the_shards(some_records, capfd, workers):
    whole = ShardedRecords(some_records, "train")
    damage(some_records, 7)
    damage(some_records, 8)
    order = TrainingOrder(20, 10, seed=1)
    with training(whole, batch_size=10, last=4, workers=workers, max_corrupt=2) as loader:
        batches = [(batch.images.copy(), batch.labels) for batch in loader]
        assert len(loader.damaged) == 2
    printed = capfd.readouterr().err
    assert printed.count("its checksum does not match; the next image takes its place") == 2  # once, not every epoch
    for step, (_, labels) in enumerate(batches):
        members = order.batch(step)[0].records
        members = np.where((members == 7) | (members == 8), 9, members)
        np.testing.assert_array_equal(labels, whole.index["label"][members])
    # The pixels are the substitute's, with the crop and colour of the place.
    (crowd,) = (step for step in (0, 1) if 7 in order.batch(step)[0].records)
    records = order.batch(crowd)[0].records
    row, position = int(np.flatnonzero(records == 7)[0]), order.batch(crowd)[0].position
    reader, out = RecordReader(whole.shards), np.empty((32, 32, 3), np.uint8)
    shard, offset, length, _ = whole.index[9].item()
    image = open_image(encoded_image(reader.payload(shard, offset, length)))
    augment(image, draws(1, 0, position + row, 1)[0].tolist(), Augmentation(scale_min=40, scale_max=60), out)
    np.testing.assert_array_equal(batches[crowd][0][row], out)


def test_one_damaged_record_more_than_the_cap_stops_the_loader(some_records):
    for record in (3, 7, 11):
        damage(some_records, record)
    with pytest.raises(UserError, match=r"records.max_corrupt is 2"):
        digests(training(ShardedRecords(some_records, "train"), max_corrupt=2))


def test_names_go_with_their_rows_where_a_record_gave_way_to_the_next(some_records):
    names = [f"train-{i}.jpg" for i in [*range(0, 20, 2), *range(1, 20, 2)]]  # shard by shard
    for record in (0, 7):
        damage(some_records, record)
        names[record] = names[record + 1]
    records = ShardedRecords(some_records, "train")
    shown = {"first_step": 0, "last_step": 1, "workers": 2, "shorter_side": 32, "filenames": True, "max_corrupt": 2}
    with Loader(records, EvaluationOrder(20, 20), 32, **shown) as loader:
        (batch,) = loader
    assert batch.filenames == names


def test_a_loader_that_is_closed_gives_no_more_batches_and_says_so(photo_records):
    loader = training(photo_records)
    loader.close()
    with pytest.raises(RuntimeError, match="the loader is closed"):
        next(iter(loader))


def test_a_folder_for_temporary_files_that_is_too_long_for_a_socket_is_said(photo_records, tmp_path, monkeypatch):
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with pytest.raises(UserError, match="Set TMPDIR to a shorter path"):
        training(photo_records)


def test_a_sigterm_to_the_whole_group_leaves_the_workers_to_the_loader(photo_records, capfd):
    with training(photo_records, last=40) as loader:
        for batch in loader:
            if batch.step == 2:
                for worker in loader._crew._workers:
                    if worker.identity:  # one that is still starting may go
                        os.kill(worker.process.pid, signal.SIGTERM)
            del batch
    assert "another takes its place" not in capfd.readouterr().err


def test_records_that_are_all_damaged_stop_the_loader_whatever_the_cap(some_records):
    for record in range(20):
        damage(some_records, record)
    with pytest.raises(UserError, match=r"records.max_corrupt is 100"):
        digests(training(ShardedRecords(some_records, "train"), max_corrupt=100))


def test_a_record_that_is_right_at_the_second_reading_is_used_and_counted(some_records, monkeypatch):
    records = ShardedRecords(some_records, "train")
    reader, reads, pread = RecordReader(records.shards), [], os.pread

    def wrong_once(descriptor: int, size: int, offset: int) -> bytes:
        reads.append(offset)
        content = pread(descriptor, size, offset)
        return bytes(size) if len(reads) == 2 else content

    monkeypatch.setattr(os, "pread", wrong_once)
    shard, offset, length, _ = records.index[0].item()
    assert encoded_image(reader.payload(shard, offset, length))[:2] == b"\xff\xd8"
    assert (reader.second_reads, len(reads)) == (1, 6)


def test_a_shard_that_is_gone_is_named(some_records):
    records = ShardedRecords(some_records, "train")
    records.shards[1].unlink()
    with pytest.raises(UserError, match=r"cannot read .*train-00001-of-00002: No such file"):
        digests(training(records))


@pytest.fixture
def soon(monkeypatch):
    """What takes minutes otherwise."""
    monkeypatch.setattr(crew_module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(crew_module, "STALLED_SECONDS", 3.0)  # on a busy machine a worker takes one to start


def test_a_stuck_worker_is_replaced_and_the_stream_does_not_change(photo_records, soon, capfd):
    expected, found = digests(training(photo_records, last=40)), []
    with training(photo_records, last=40) as loader:
        for batch in loader:
            if batch.step == 2:
                known = next(worker for worker in loader._crew._workers if worker.identity)
                os.kill(known.process.pid, signal.SIGSTOP)
            found.append(hashlib.sha256(batch.images.tobytes() + batch.labels.tobytes()).hexdigest())
            del batch
    assert found == expected
    assert "a worker was stuck" in capfd.readouterr().err


def test_workers_that_never_say_a_word_are_stuck_too(photo_records, soon, monkeypatch, capfd):
    silent = [sys.executable, "-c", "import signal; signal.pause()"]
    monkeypatch.setattr(crew_module, "start_process", lambda *_: subprocess.Popen(silent))
    monkeypatch.setattr(crew_module, "STALLED_SECONDS", 0.3)
    with pytest.raises(UserError, match="workers keep ending before they finish anything"):
        digests(training(photo_records, workers=1))
    assert capfd.readouterr().err.count("a worker was stuck") == 4


def test_images_that_no_worker_survives_are_named(photo_records, soon, monkeypatch):
    deadly = """
import os, sys, resnet.loader.worker as w
w.Worker.fill = lambda self, order, records: os._exit(9) if order.number == 1 else w.Filled()
w.main()
"""
    command = [sys.executable, "-c", deadly]

    def start(address: str, descriptor: int) -> subprocess.Popen:
        return subprocess.Popen([*command, address, str(descriptor), str(os.getpid())], pass_fds=(descriptor,))

    monkeypatch.setattr(crew_module, "start_process", start)
    with pytest.raises(
        UserError, match=r"3 workers .* ended \(exit code 9\): 16 records, .* at byte \d+ of .*train-0000"
    ):
        digests(training(photo_records))


def test_a_fault_in_a_workers_code_shows_its_traceback(photo_records, monkeypatch):
    wrong = "import resnet.loader.worker as w; w.draws = None; w.main()"

    def start(address: str, descriptor: int) -> subprocess.Popen:
        arguments = [address, str(descriptor), str(os.getpid())]
        return subprocess.Popen([sys.executable, "-c", wrong, *arguments], pass_fds=(descriptor,))

    monkeypatch.setattr(crew_module, "start_process", start)
    with pytest.raises(RuntimeError, match=r"(?s)a worker of the loader failed:.*'NoneType' object is not callable"):
        digests(training(photo_records))


def test_eight_workers_that_keep_ending_stop_the_loader_with_one_clear_error(photo_records, soon, monkeypatch):
    command, started = [sys.executable, "-c", "raise SystemExit(7)"], []

    def start(address: str, descriptor: int) -> subprocess.Popen:
        started.append(subprocess.Popen(command))
        return started[-1]

    monkeypatch.setattr(crew_module, "start_process", start)
    with pytest.raises(UserError, match="workers keep ending before they finish anything"):
        digests(training(photo_records, workers=8))
    assert len(started) == 8 * 4


def test_closing_early_leaves_no_process_and_no_file(photo_records):
    loader = training(photo_records, last=1000)
    next(iter(loader))
    processes, folder = [worker.process for worker in loader._crew._workers], loader._crew._folder
    loader.close()
    assert all(process.poll() is not None for process in processes)
    assert not folder.exists()


def test_the_socket_lies_in_a_folder_that_only_its_user_can_enter(photo_records):
    with training(photo_records, last=1) as loader:
        assert loader._crew._folder.stat().st_mode & 0o077 == 0


def test_workers_end_with_a_trainer_that_is_killed(photo_records):
    folder = photo_records.shards[0].parent
    code = f"""
import sys, time
from pathlib import Path
from resnet.loader.loader import Loader
from resnet.loader.order import TrainingOrder
from resnet.records.example import encoded_image
from resnet.records.regions import open_image
from resnet.records.shards import RecordReader, ShardedRecords
records = ShardedRecords(Path({str(folder)!r}), "train")
loader = Loader(records, TrainingOrder(50, 8, 0), 32, first_step=0, last_step=10**6, workers=2, shorter_side=32)
next(iter(loader))
print(*(worker.process.pid for worker in loader._crew._workers), flush=True)
sys.stdin.read()
"""
    trainer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    workers = [int(pid) for pid in trainer.stdout.readline().split()]
    assert len(workers) == 2
    descriptors = [os.pidfd_open(pid) for pid in workers]
    trainer.kill()
    trainer.communicate()
    for descriptor in descriptors:  # becomes readable when the process ends
        assert _ends_within(descriptor, seconds=2)
        os.close(descriptor)


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


def test_a_worker_reads_more_shards_than_it_may_open_files(tmp_path):
    write_records(tmp_path, "train", photographs(12), shards=6)
    records = ShardedRecords(tmp_path, "train")
    reader = RecordReader(records.shards, most_open=2)
    for shard, offset, length, _ in records.index.tolist() * 2:
        assert reader.payload(shard, offset, length)
        assert len(reader._descriptors) <= 2
    reader.close()


def test_no_slot_is_lost_when_batches_are_dropped_by_the_collector(photo_records):
    with training(photo_records, last=3 * loader_module.LEAST_SLOTS) as loader:
        for batch in loader:
            cycle: list = [batch]
            cycle.append(cycle)
            del batch, cycle
            gc.collect()


def test_a_folder_without_records_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match="Run ConvertRecords first"):
        ShardedRecords(Path(tmp_path), "train")

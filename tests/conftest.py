"""Images and records that several packages are tested with."""

from __future__ import annotations

import io
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from ledgers import begin, finish_all, ledger_in
from PIL import Image
from sample_images import photographs as sample_photographs
from sample_images import write_records

from resnet import console
from resnet.images.decoding import png
from resnet.ledger import Ledger
from resnet.records.example import LabelledImage, decode
from resnet.records.shards import RecordReader, ShardedRecords, read_classes
from resnet.run import Machine, Run
from resnet.stages import ledger_of, run_stage

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")  # the machine may be busy


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores: many tests wait for processes that start."""
    return 1 + len(os.sched_getaffinity(0))


@pytest.fixture(scope="session", autouse=True)
def signals_as_in_a_terminal() -> None:
    """What is started in the background or by nohup has SIGINT or SIGHUP ignored, and so has all that it starts."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(autouse=True)
def messages() -> None:
    """Messages go to standard error, as in a command."""
    console.configure()


@pytest.fixture(scope="session")
def photo_records(tmp_path_factory: pytest.TempPathFactory) -> ShardedRecords:
    """50 photographs of two classes, in three shards."""
    folder = tmp_path_factory.mktemp("photo-records")
    write_records(folder, "train", sample_photographs(50))
    return ShardedRecords(folder, "train")


@pytest.fixture(scope="session")
def square_records(tmp_path_factory: pytest.TempPathFactory) -> ShardedRecords:
    """37 grey squares of 16x16 pixels: image i has the grey value i, and the label i % 3."""
    folder = tmp_path_factory.mktemp("square-records")
    squares = [(png(np.full((16, 16), i, np.uint8)), i % 3) for i in range(37)]
    write_records(folder, "train", squares)
    return ShardedRecords(folder, "train")


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """picture(seed): soft colours, uint8 RGB [48, 64, 3] unless another size is asked for."""

    def make(seed: int = 0, width: int = 64, height: int = 48) -> np.ndarray:
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
        return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)

    return make


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    """encoded(pixels, "JPEG", "CMYK", quality=90 ...): pixels as Pillow saves them."""

    def make(pixels: np.ndarray, kind: str, mode: str = "RGB", **options) -> bytes:
        image = Image.fromarray(pixels)
        if mode == "I;16":  # 16 bits: 8 would not be enough
            image = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 256 + pixels[:, :, 1])
        elif mode in ("RGBA", "LA"):
            image.putalpha(Image.fromarray(pixels[:, :, 0]))
            image = image.convert(mode)
        else:
            image = image.convert(mode)
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def image_files(picture, encoded) -> dict[str, bytes]:
    """One file of every kind, by a name for it."""
    pixels = picture()
    cmyk = bytearray(encoded(pixels, "JPEG", "CMYK"))
    transform = cmyk.find(b"Adobe") + 11
    assert cmyk[transform] == 0
    cmyk[transform] = 2  # the same numbers, but now they mean YCCK
    return {
        "JPEG": encoded(pixels, "JPEG", quality=90),
        "grey JPEG": encoded(pixels, "JPEG", "L"),
        "progressive JPEG": encoded(pixels, "JPEG", progressive=True),
        "JPEG without subsampling": encoded(pixels, "JPEG", subsampling=0),
        "JPEG of odd size": encoded(picture(1, 37, 29), "JPEG"),
        "JPEG with restart markers": encoded(pixels, "JPEG", restart_marker_blocks=2),
        "PNG": encoded(pixels, "PNG"),
        "grey PNG": encoded(pixels, "PNG", "L"),
        "CMYK JPEG": encoded(pixels, "JPEG", "CMYK"),
        "YCCK JPEG": bytes(cmyk),
        "palette PNG": encoded(pixels, "PNG", "P"),
        "two-colour PNG": encoded(pixels, "PNG", "1"),
        "16-bit PNG": encoded(pixels, "PNG", "I;16"),
        "RGBA PNG": encoded(pixels, "PNG", "RGBA"),
        "grey PNG with alpha": encoded(pixels, "PNG", "LA"),
        "PNG with a transparent colour": encoded(pixels, "PNG", transparency=tuple(int(c) for c in pixels[0, 0])),
        "WebP": encoded(pixels, "WEBP"),
        "lossless WebP": encoded(pixels, "WEBP", lossless=True),
        "BMP": encoded(pixels, "BMP"),
        "TIFF": encoded(pixels, "TIFF"),
        "packed TIFF": encoded(pixels, "TIFF", compression="tiff_lzw"),
        "GIF": encoded(pixels, "GIF", "P"),
    }


@pytest.fixture(scope="session")
def repaired_jpeg(picture, encoded) -> bytes:
    """A JPEG with wrong bytes in the middle: decoders repair it, and libjpeg warns."""
    content = bytearray(encoded(picture(9), "JPEG", quality=90))
    middle = (content.find(b"\xff\xda") + len(content)) // 2
    content[middle : middle + 4] = b"\xff\xd7\xff\xd0"
    return bytes(content)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory, picture, encoded, image_files, repaired_jpeg) -> Path:
    """A folder of three classes, 39 images, all readable, one of them with a decode warning. Not to be changed."""
    root = tmp_path_factory.mktemp("data") / "photographs"
    for number, name in enumerate(("cat", "dog", "zebra_finch")):
        (root / name).mkdir(parents=True)
        for k in range(5):
            (root / name / f"{k}.jpg").write_bytes(encoded(picture(100 * number + k, 40 + k, 50 - k), "JPEG"))
    for kind, content in image_files.items():
        (root / "dog" / f"{kind}.img").write_bytes(content)
    (root / "cat" / "really a PNG.JPEG").write_bytes(image_files["PNG"])
    (root / "cat" / "repaired.jpg").write_bytes(repaired_jpeg)
    return root


@pytest.fixture(scope="session")
def run_on() -> Callable[..., Run]:
    """run_on(data, artifacts, "records.seed=1", workers=2): a run on a folder of images."""

    def make(data: Path, artifacts: Path, *overrides: str, workers: int = 1, recipe: str = "imagefolder") -> Run:
        few = ["records.train_shards=3", "records.validation_shards=2"]
        return Run.of(recipe, [*few, *overrides], artifacts=artifacts, data=data, machine=Machine(workers=workers))

    return make


@pytest.fixture(scope="session")
def converted(photographs, run_on, tmp_path_factory) -> Run:
    """The photographs as records. Not to be changed: see `converted_copy`."""
    run = run_on(photographs, tmp_path_factory.mktemp("converted") / "artifacts")
    run_stage("convert", run)
    return run


@pytest.fixture
def converted_copy(converted, photographs, run_on, tmp_path) -> Run:
    """The photographs as records, free to change."""
    shutil.copytree(converted.artifacts, tmp_path / "artifacts")
    return run_on(photographs, tmp_path / "artifacts")


@pytest.fixture(scope="session")
def evaluated(photographs, picture, run_on, tmp_path_factory) -> Run:
    """A run whose validation images are the photographs, evaluated with random weights. Not to be changed."""
    from resnet.model.network import network_of  # only where a test needs it: it imports TensorFlow
    from resnet.weights.safetensors_files import write_weights

    root = tmp_path_factory.mktemp("evaluated")
    for folder in photographs.iterdir():
        (root / "data" / "train" / folder.name).mkdir(parents=True)
        shutil.copy(folder / "0.jpg", root / "data" / "train" / folder.name)
    (root / "data" / "val").symlink_to(photographs)
    small = ("model.depth=8", "model.image_size=24", "training.batch_size=16", "training.replica_batch_size=16")
    run = run_on(root / "data", root / "artifacts", *small)
    run_stage("convert", run)
    classes = read_classes(run.records)
    network = network_of(run.recipe, len(classes))
    images = np.stack([picture(i, 24, 24) for i in range(32)])
    logits = network(images, training=False)[0].numpy()
    last = network.classifier  # without training it answers the same for all images; now it tells them apart
    last.bias.assign(-logits.mean(0) / logits.std(0))
    last.kernel.assign(last.kernel / logits.std(0))
    for stage in ("train", "batchnorm"):
        attempt = begin(ledger_of(run), stage)
        attempt.finish([write_weights(attempt.folder / "weights.safetensors", network, classes)])
    run_stage("evaluate", run)
    return run


@pytest.fixture(scope="session")
def records_of() -> Callable[[Path, str], list[LabelledImage]]:
    """records_of(folder, split): every record, in the order of the index."""

    def make(folder: Path, split: str) -> list[LabelledImage]:
        return list(read(folder, split))

    def read(folder: Path, split: str) -> Iterator[LabelledImage]:
        records = ShardedRecords(folder, split)
        reader = RecordReader(records.shards)
        for entry in records.index:
            yield decode(reader.payload(int(entry["shard"]), int(entry["offset"]), int(entry["length"])))
        reader.close()

    return make


@pytest.fixture
def ledger_for(tmp_path):
    """ledger_for("training.epochs=3"): the ledger of a digits run with these overrides."""
    return partial(ledger_in, tmp_path / "artifacts")


@pytest.fixture
def finished(ledger_for) -> Ledger:
    """The ledger of a run whose five stages have finished."""
    return finish_all(ledger_for())

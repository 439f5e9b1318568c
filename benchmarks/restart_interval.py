"""Which width of restart intervals makes the recipe's crops fastest, for several kinds of JPEG.

    python benchmarks/restart_interval.py [--count 100] [--rounds 7]

Milliseconds of cutting out and decoding a crop, and the bytes that markers and index add: `BEST_WIDTH` in
resnet/records/restarts.py is read off this table.
"""

from __future__ import annotations

import argparse
import statistics
import time

import cv2
from photographs import photographs

from resnet.images.decoding import decode
from resnet.images.jpeg import FRAMES, read_frame, segments
from resnet.images.regions import Box, open_image
from resnet.images.restarts import Unusual, fastest_interval, insert_restarts
from resnet.loader.random_streams import AUGMENTATION, draws
from resnet.loader.views import scale_box
from resnet.settings import Augmentation

SAMPLINGS = {
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="images of each kind")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    settings = Augmentation()
    wholes = [image for image in map(decode, photographs(2 * options.count)) if image.shape[:2] == (375, 500)]
    drawn = draws(0, 0, 0, len(wholes), AUGMENTATION).tolist()
    boxes = [scale_box(500, 375, 224, draw, settings.scale_min, settings.scale_max) for draw in drawn]
    for name, sampling in SAMPLINGS.items():
        for quality in (75, 96):  # files of 31 to 39 KB, and of 86 to 106 KB as in ImageNet
            parameters = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
            files = [cv2.imencode(".jpg", image[:, :, ::-1], parameters)[1].tobytes() for image in wholes]
            compare(f"{name}, quality {quality}", files, boxes, options.rounds)


def compare(kind: str, files: list[bytes], boxes: list[Box], rounds: int) -> None:
    """Print a table of one kind of file: rows are interval widths."""
    frame = next(read_frame(s.marker, files[0][s.start : s.end]) for s in segments(files[0]) if s.marker in FRAMES)
    columns, width = frame.mcus[0], frame.mcu[0]
    variants: dict[int, list[bytes]] = {}
    for interval in (interval for interval in range(1, columns + 1) if columns % interval == 0):
        try:
            variants[interval] = [insert_restarts(file, interval) for file in files]
        except Unusual:
            continue
    times: dict[int, list[float]] = {interval: [] for interval in (0, *variants)}  # 0: decoded whole
    for _ in range(rounds):
        times[0].append(_milliseconds(files, boxes))
        for interval, indexed in variants.items():
            times[interval].append(_milliseconds(indexed, boxes))
    size = sum(map(len, files))
    print(f"\n{kind}, {size / len(files) / 1000:.0f} KB: decoded whole {statistics.median(times[0]):.3f} ms")
    for interval, indexed in variants.items():
        growth, taken = 100 * (sum(map(len, indexed)) / size - 1), statistics.median(times[interval])
        chosen = "  <- chosen" if interval == fastest_interval(frame) else ""
        print(f"  {interval * width:4} pixels: {taken:.3f} ms, {growth:+5.2f} % bytes{chosen}")


def _milliseconds(files: list[bytes], boxes: list[Box]) -> float:
    start = time.perf_counter()
    for file, box in zip(files, boxes, strict=True):
        open_image(file).region(box)
    return 1000 * (time.perf_counter() - start) / len(files)


if __name__ == "__main__":
    main()

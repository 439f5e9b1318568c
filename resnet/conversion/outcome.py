"""What a conversion did with every image and every other file: counts, lists, and what it reports to the user."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from resnet.datasets.source import Ignored
from resnet.errors import UserError
from resnet.files import atomic
from resnet.records.shards import SPLITS

FORMER_REASONS = {"damaged bits": "invalid scan data"}  # of shards that earlier versions wrote
FEW = 3  # names that are printed of each kind of ignored files
MANY = 10  # kinds that are printed


class Outcome:
    """Made from the shards' summaries, by name and in order, and the names of ignored files, by kind."""

    def __init__(self, summaries: dict[str, dict[str, Any]], ignored: Ignored):
        self._summaries = {name: _with_reductions(summary) for name, summary in summaries.items()}
        self._ignored = ignored
        self.images = {split: self._count(split) for split in SPLITS}
        self.rejected = self._rows("rejected")
        self.decode_warnings = self._rows("decode_warnings")
        self.converted = self._total("converted")
        self.reduced = self._total("reduced")
        self.left_whole = self._total("left_whole")

    @property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of every shard and index, by its name in the folder."""
        shards = {name: summary["sha256"] for name, summary in self._summaries.items()}
        return shards | {f"index/{name}.npy": summary["index_sha256"] for name, summary in self._summaries.items()}

    def facts(self) -> dict[str, Any]:
        """What stage.json says of it."""
        return {
            "images": self.images,
            "rejected": len(self.rejected),
            "decode_warnings": len(self.decode_warnings),
            "converted": self.converted,
            "reduced": self.reduced,
            "left_whole": self.left_whole,
            "ignored": {kind: len(names) for kind, names in self._ignored.items()},
        }

    def write_lists(self, folder: Path) -> list[Path]:
        """Write rejected.csv, decode_warnings.csv and ignored.csv; returns their paths."""
        (folder / "doubtful.csv").unlink(missing_ok=True)  # what earlier versions called the second one
        return [
            _write_rows(folder / "rejected.csv", self.rejected),
            _write_rows(folder / "decode_warnings.csv", self.decode_warnings),
            _write_rows(
                folder / "ignored.csv", ((name, kind) for kind in self._ignored for name in self._ignored[kind])
            ),
        ]

    def check_rejected(self, accepted: int, folder: Path) -> None:
        """Raise UserError where more images were rejected than is accepted."""
        count = len(self.rejected)
        if count > accepted:
            first = "".join(f"\n  {file}: {reason}" for file, reason in self.rejected[:10])
            raise UserError(
                f"{_images(count)} cannot be read, and records.max_rejected is {accepted}:{first}\n"
                f"All of them are listed in {folder / 'rejected.csv'}. Repair or remove them, or leave them out with "
                f"--override '[\"records.max_rejected={count}\"]'. Finished shards are kept."
            )

    def print(self, folder: Path) -> None:
        """Print the counts to standard output."""
        print(f"convert: {self.images['train']:,} training and {self.images['validation']:,} validation images")
        for kind, number in sorted(self.converted.items()):
            print(f"convert: {number:,} stored as PNG, pixels unchanged: {kind}")
        for reason, number in sorted(self.reduced.items()):
            print(f"convert: {_images(number)} reduced: {reason}")
        for reason, number in sorted(self.left_whole.items()):
            print(f"convert: {number:,} JPEG stored as they are, to be decoded whole: {reason}")
        if self.rejected:
            left_out = _images(len(self.rejected), "unreadable ")
            print(f"convert: {left_out} left out, listed in {folder / 'rejected.csv'}")
        if self.decode_warnings:
            warned = _images(len(self.decode_warnings))
            print(f"convert: {warned} decoded with warnings, listed in {folder / 'decode_warnings.csv'}")
        self._print_ignored(folder)

    def _print_ignored(self, folder: Path) -> None:
        kinds = sorted(self._ignored, key=lambda kind: -len(self._ignored[kind]))
        for kind in kinds[:MANY]:
            names = self._ignored[kind]
            few = ", ".join(map(_printable, itertools.islice(names, FEW))) + (" ..." if len(names) > FEW else "")
            print(f"convert: {len(names):,} ignored ({kind}): {few}")
        if kinds:
            more = f"{len(kinds) - MANY:,} more kinds are ignored; " if len(kinds) > MANY else ""
            print(f"convert: {more}all that is ignored is listed in {folder / 'ignored.csv'}")

    def _count(self, split: str) -> int:
        return sum(one["records"] for name, one in self._summaries.items() if name.startswith(f"{split}-"))

    def _rows(self, kind: str) -> list[tuple[str, str]]:
        return [row for summary in self._summaries.values() for row in summary[kind]]

    def _total(self, kind: str) -> dict[str, int]:
        """A count by reason, over all shards."""
        total: Counter[str] = Counter()
        for summary in self._summaries.values():
            for reason, number in summary[kind].items():
                total[FORMER_REASONS.get(reason, reason)] += number
        return dict(total)


def _with_reductions(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary that says what was reduced. Earlier versions did not, and counted it as converted."""
    if "reduced" in summary:
        return summary
    unknown = {f"perhaps, which an earlier version did not say: {kind}": n for kind, n in summary["converted"].items()}
    return summary | {"converted": {}, "reduced": unknown}


def _write_rows(path: Path, rows: Iterable[tuple[str, str]]) -> Path:
    with atomic(path, "w") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "reason"))
        writer.writerows(rows)
    return path


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)


def _images(number: int, kind: str = "") -> str:
    return f"1 {kind}image" if number == 1 else f"{number:,} {kind}images"

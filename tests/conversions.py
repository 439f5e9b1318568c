"""Runs the convert stage, and compares what it wrote before and after."""

from __future__ import annotations

from pathlib import Path

from resnet.run import Run
from resnet.stages import ledger_of, run_stage

SHARDS = [f"train-{i:05d}-of-00003" for i in range(3)] + [f"validation-{i:05d}-of-00002" for i in range(2)]


def convert(run: Run) -> None:
    run_stage("convert", run)


def why_incomplete(run: Run) -> str:
    return ledger_of(run).why_incomplete("convert")


def stage_json(run: Run) -> dict:
    return ledger_of(run).finished("convert")


def files_of(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def data_files(folder: Path) -> dict[str, bytes]:
    """The files that depend on nothing but the images and the seed."""
    return {
        name: path.read_bytes()
        for name, path in files_of(folder).items()
        if name.startswith(("train-", "validation-", "index/", "classes.txt"))
    }


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of each file: they change when a file is rewritten, even with the same content."""
    return {name: (path.stat().st_ino, path.stat().st_mtime_ns) for name, path in files_of(folder).items()}


def rewritten(before: dict, after: dict) -> set[str]:
    return {name for name in SHARDS if before.get(name) != after[name]}

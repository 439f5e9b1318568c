"""The tables of an analysis as CSV files."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from resnet.files import atomic


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> list[Path]:
    """Write each table to NAME.csv in the folder, each completely or not at all; returns the paths.

    Text is UTF-8, except that names which are not UTF-8 stand in it as the bytes they are. Unknown numbers are empty.
    """
    paths = [folder / f"{name}.csv" for name in tables]
    for path, table in zip(paths, tables.values(), strict=True):
        with atomic(path, "w") as file:
            # All text is quoted: Python's writer does not quote a carriage return, and no reader takes it bare.
            table.round(6).to_csv(file, index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    return paths

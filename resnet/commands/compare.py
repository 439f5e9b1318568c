"""compare: runs beside each other, as text, JSON or a page."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from resnet.commands.options import artifacts_of, run_in
from resnet.comparison import compare_runs, read_run
from resnet.errors import UserError
from resnet.files import atomic


def main(options: argparse.Namespace) -> None:
    """Compare the runs with the first of them. Raises UserError."""
    if len(options.runs) < 2:
        raise UserError("compare: give two runs or more; the others are compared with the first.")
    artifacts = artifacts_of(options)
    comparison = compare_runs([read_run(artifacts, run_in(artifacts, name).name) for name in options.runs])
    print(json.dumps(comparison.as_json(), indent=1) if options.json else "\n".join(comparison.lines()))
    if options.html or options.out:
        from resnet.comparison.page import render  # with matplotlib, which takes a second

        path = Path(options.out or f"compare-{'-'.join(options.runs)}.html").expanduser().absolute()
        with atomic(path, "w") as file:
            file.write(render(comparison))
        if not options.json:
            print(f"The page: {path}")

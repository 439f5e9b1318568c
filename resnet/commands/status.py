"""status: where a run stands. It exits with 0 only where every stage is up to date."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from resnet.commands.options import run_of
from resnet.files import atomic
from resnet.stages import ledger_of
from resnet.status import read_status


def main(options: argparse.Namespace) -> int:
    """Print the status of the run, and draw it where that is asked for; returns 1 unless it is up to date."""
    status = read_status(ledger_of(run_of(options)))
    print(json.dumps(status.as_json(), indent=1) if options.json else "\n".join(status.lines()))
    if options.svg:
        from resnet.status.picture import picture  # with matplotlib, which takes a second

        with atomic(Path(options.svg).expanduser().absolute(), "w") as file:
            file.write(picture(status).svg)
    return 0 if status.is_up_to_date else 1

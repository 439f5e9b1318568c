"""status: where a run stands. It exits with 0 only where every stage is up to date."""

from __future__ import annotations

import argparse
import json

from resnet.commands.options import run_of
from resnet.stages import ledger_of
from resnet.status import read_status


def main(options: argparse.Namespace) -> int:
    """Print the status of the run; returns 1 unless it is up to date."""
    status = read_status(ledger_of(run_of(options)))
    print(json.dumps(status.as_json(), indent=1) if options.json else "\n".join(status.lines()))
    return 0 if status.is_up_to_date else 1

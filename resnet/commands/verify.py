"""verify: is every byte as it was written? It exits with 0 only where all is, and each result belongs to the others."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from resnet.commands.options import artifacts_of, run_in
from resnet.errors import UserError
from resnet.inventory import read_inventory
from resnet.ledger.clearing import set_aside
from resnet.records.shards import Shard
from resnet.run import Run
from resnet.stages import ledger_of, run_stage
from resnet.trash import CORRUPT
from resnet.verification import SHARDS, Check, Finding, Verdict, broken_links, checks_of_data_set, checks_of_run, verify


def main(options: argparse.Namespace) -> int:
    """Verify a run with its records, or everything in the artifacts folder; returns 1 unless all is sound."""
    artifacts = artifacts_of(options)
    if options.run:
        run_in(artifacts, options.run)
    verdict = _verdict(artifacts, options.run)
    if not verdict.checked and not verdict.corrupt:
        raise UserError(f"there is nothing to verify in {artifacts}: no finished stage. Give another --artifacts.")
    if options.mend and verdict.corrupt:
        for name, shards in _shards_by_run(artifacts, options.run, verdict).items():
            _mend(Run.of(name=name, artifacts=artifacts), shards)
        verdict = _verdict(artifacts, options.run)
    print(json.dumps(verdict.as_json(), indent=1) if options.json else "\n".join(_lines(verdict)))
    return 0 if verdict.is_sound else 1


def _verdict(artifacts: Path, name: str) -> Verdict:
    return verify(_checks(artifacts, name), _stale(artifacts, name))


def _checks(artifacts: Path, name: str) -> Iterator[Check | Finding]:
    runs, data_sets = read_inventory(artifacts)
    runs = [run for run in runs if name in ("", run.name)]
    for data_set in data_sets:
        users = [run.folder for run in runs if run.settings.data_set == data_set.name]
        if users or not name:
            yield from checks_of_data_set(data_set.folder, users[0] if users else None)
    for run in runs:
        yield from checks_of_run(run.folder)


def _stale(artifacts: Path, name: str) -> Iterator[Finding]:
    seen: set[tuple[str, str]] = set()
    for run in read_inventory(artifacts).runs:
        if name in ("", run.name):
            try:
                for link in broken_links(ledger_of(Run.of(name=run.name, artifacts=artifacts))):
                    if link[:2] not in seen:  # runs share records
                        yield link
                    seen.add(link[:2])
            except UserError:  # its recipe is corrupt, which is a finding of its own
                continue


def _shards_by_run(artifacts: Path, name: str, verdict: Verdict) -> dict[str, list[Path]]:
    """The corrupt files of records, by a run that makes the same records of the same images. Says why one does not."""
    found: dict[str, list[Path]] = {}
    for run in read_inventory(artifacts).runs:
        if name in ("", run.name) and run.settings.data_set:
            records = artifacts / "records" / run.settings.data_set
            paths = [Path(one.file) for one in verdict.corrupt if records in Path(one.file).parents]
            is_new = not any(set(paths) & set(others) for others in found.values())
            if paths and is_new:
                if why := _why_not_mended(artifacts, run.name):
                    print(f"run {run.name} does not make these records again: {why}", file=sys.stderr)
                else:
                    found[run.name] = paths
    return found


def _why_not_mended(artifacts: Path, run: str) -> str:
    """Why a run would not make the same shards again: other settings, or images that changed or cannot be seen."""
    try:
        ledger = ledger_of(Run.of(name=run, artifacts=artifacts))
        record = ledger.record("convert")
        if record is None or ledger.source is None:
            return "the images cannot be seen"
        return ", ".join(ledger.differences("convert", record)) or ledger.what_changed(record)
    except UserError as error:
        return str(error)


def _mend(run: Run, paths: list[Path]) -> None:
    """Make corrupt files of a run's records again: they, and no other shards."""
    here = run.records.resolve()  # others are of records in place, or lead elsewhere
    owned = [path for path in paths if not path.is_symlink() and path.parent.resolve().is_relative_to(here)]
    if not owned:
        return
    shards = {path.name.partition(".")[0] for path in owned if path.name.startswith(SHARDS)}
    files = {*owned, *(file for name in shards for file in Shard(run.records, name).files())}
    set_aside(ledger_of(run), "convert", sorted(files), CORRUPT)
    print(f"making again: {', '.join(sorted(shards)) or ', '.join(path.name for path in owned)}", file=sys.stderr)
    with contextlib.redirect_stdout(sys.stderr):  # standard output has the answer
        run_stage("convert", run)


def _lines(verdict: Verdict) -> list[str]:
    lines = []
    for title, findings in (("corrupt", verdict.corrupt), ("stale", verdict.stale), ("changed", verdict.changed)):
        for one in findings:
            lines += [f"{title}: {one.file}: {one.why}", *([f"  mend: {one.mend}"] if one.mend else [])]
    if verdict.changed:
        lines.append("Nothing depends on what has only changed.")
    counted = f"{verdict.checked:,} files, {verdict.size / 1e6:,.1f} MB"
    corrupt = f"{len(verdict.corrupt):,} corrupt" if verdict.corrupt else "all as they were written"
    return [*lines, f"verified {counted}: {corrupt}{f', {len(verdict.stale):,} stages stale' if verdict.stale else ''}"]

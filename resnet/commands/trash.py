"""trash: list what made way for other results, restore it, or delete it for good."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from resnet.errors import UserError
from resnet.trash import Trashed, delete, named, read_trash, require_restorable, restore, why_unfit


def main(options: argparse.Namespace) -> None:
    """Do what the options say. Raises UserError."""
    artifacts = Path(options.artifacts).expanduser().absolute()
    trash = read_trash(artifacts)
    if options.action == "list":
        print("\n".join(map(_line, trash)) or f"{artifacts / 'trash'} is empty")
        return
    if options.action == "restore" and not options.names:
        raise UserError("trash restore: give the NAME of what to restore; `python -m resnet trash` lists them.")
    is_back = options.action == "restore"
    chosen = named(trash, options.names, newest=is_back) if options.names else trash
    if is_back:
        for one in chosen:
            require_restorable(artifacts, one, swap=options.swap)
        for one in chosen:
            print(f"restored {restore(artifacts, one, swap=options.swap)}")
            if why := why_unfit(artifacts, one):
                print(f"  The run has other settings now ({why}). With them, what is restored makes way again:")
                print("  to go on with it, give the settings that it was made with, by --recipe and --override.")
    elif chosen and _agreed(chosen, options.yes):
        total = _total(chosen)
        for one in chosen:
            delete(one)
        print(f"deleted {total}")
    elif not chosen:
        print(f"{artifacts / 'trash'} is empty")


def _agreed(chosen: Sequence[Trashed], yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError(f"trash empty would delete {_total(chosen)} for good: say so with --yes.")
    print("\n".join(map(_line, chosen)))
    try:
        agreed = input(f"Delete {_total(chosen)} for good? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        agreed = False
    if not agreed:
        print("nothing is deleted")
    return agreed


def _total(chosen: Sequence[Trashed]) -> str:
    folders = "1 folder" if len(chosen) == 1 else f"{len(chosen):,} folders"
    return f"{folders}, {_megabytes(sum(one.size for one in chosen))}"


def _line(one: Trashed) -> str:
    what = f"{one.origin} ({one.why})" if one.origin else "nothing says where it comes from"
    return f"{_megabytes(one.size):>12}  {_printable(one.name)}  {_printable(what)}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)

"""Images a second of this project's input pipeline beside others', on the same files, in one run, alternating.

    python benchmarks/input_pipeline.py [--peers DIR] [--images DIR] [--workers 2] [--crop area] [--json FILE]
    python benchmarks/input_pipeline.py --from-json FILE ... --chart FILE.svg  draw earlier results
    python benchmarks/input_pipeline.py --check [--peers DIR]                  compare pixels first

Measures what is installed, here or in a folder of packages (--peers). Each pipeline has processes of its own, which
are stopped while the others are measured: they would use the time to make batches in advance. `--check` prints how far
each pipeline's pixels are from this project's, of 255. Those that lack a change of colour, scale with another filter or
draw their own numbers differ by more: PyTorch, tensorpack (blue first), FFCV.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from contender_process import ContenderProcess
from contenders import AS_SHIPPED, BY_HAND, CEILING, CONTENDERS, OURS
from machine import machine
from work import Prepared, prepare

COLORS = {"no": "no colour", "yes": "with colour"}
Figures = dict[str, dict[str, Any]]  # by contender
Results = dict[str, Figures]  # by the names in COLORS


def main() -> None:
    options = _options()
    if options.from_json:
        reports = [json.loads(Path(path).read_text(encoding="utf-8")) for path in options.from_json]
    else:
        with tempfile.TemporaryDirectory(prefix="input-pipeline-") as folder:
            prepared = prepare(
                Path(folder), images=options.images, count=options.count, size=options.size, crop=options.crop
            )
            kinds = COLORS if options.color == "both" else [options.color]
            results = {COLORS[kind]: measure(folder, options, kind == "yes") for kind in kinds}
        reports = [{"about": about(options, prepared), "results": results}]
    for report in reports:
        print_table(report)
    if options.json:
        Path(options.json).write_text(json.dumps(reports[0], indent=1), encoding="utf-8")
    if options.chart:
        from chart import draw

        draw(reports, Path(options.chart))


def measure(folder: str, options: argparse.Namespace, color: bool) -> Figures:
    """Every contender's rounds, one after the other in turn."""
    names = ("size", "batch", "workers", "seconds", "crop", "peers", "check")
    task = {"folder": folder, "color": color} | {name: getattr(options, name) for name in names}
    processes = {}
    for name, contender in CONTENDERS.items():
        if installed(contender.module, options.peers) and (not options.only or name in options.only):
            try:
                process = processes[name] = ContenderProcess(name, task)
            except ChildProcessError as error:
                print(f"left out: {error}", flush=True)
                continue
            if "difference" in process.facts:
                kind, difference = COLORS["yes" if color else "no"], process.facts["difference"]
                print(f"{name}, {kind}: differs by {difference:.2f} of 255", flush=True)
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in processes}
    for number in range(options.rounds):
        for name, process in processes.items():
            rounds[name].append(process.round())
            print(f"round {number + 1}, {name}: {rounds[name][-1]['rate']:,.0f} images/s", file=sys.stderr, flush=True)
    for process in processes.values():
        process.close()
    return {
        name: {"kind": CONTENDERS[name].kind, **processes[name].facts}
        | {figure: statistics.median(one[figure] for one in all_rounds) for figure in all_rounds[0]}
        | {"rounds": [one["rate"] for one in all_rounds]}
        for name, all_rounds in rounds.items()
    }


def installed(module: str, peers: str | None) -> bool:
    if peers and (Path(peers) / module.replace(".", "/")).exists():
        return True
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def about(options: argparse.Namespace, prepared: Prepared) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "images": prepared.images,
        "kilobytes_an_image": round(prepared.kilobytes),
        "index_growth_percent": round(prepared.growth, 2),
        **{name: getattr(options, name) for name in ("size", "crop", "workers", "batch", "rounds", "seconds")},
        **machine(),
    }


def print_table(report: dict[str, Any]) -> None:
    """The figures as a Markdown table: medians, with the least and the greatest."""
    about, results = report["about"], report["results"]
    print(
        f"\n{about['images']:,} JPEGs of {about['kilobytes_an_image']} KB (the index adds "
        f"{about['index_growth_percent']:+.2f} %), crop '{about['crop']}', {about['size']}x{about['size']} pixels; "
        f"{about['workers']} workers, batches of {about['batch']}; {about['cores']} cores of {about['cpu']}; median of "
        f"{about['rounds']} rounds of {about['seconds']:g} s, alternating (least to greatest)\n"
    )
    rows = [["pipeline, images/s", "", *results]]
    for name in dict.fromkeys(name for figures in results.values() for name in figures):
        kind, version = next((f[name]["kind"], f[name]["version"]) for f in results.values() if name in f)
        cells = [_rate(figures[name]) if name in figures else "" for figures in results.values()]
        rows.append([f"{name} ({version})" if version else name, "" if kind == OURS else kind, *cells])
    rows += [
        ["times the fastest as shipped", "", *(_times(figures, AS_SHIPPED) for figures in results.values())],
        ["times the best assembled by hand", "", *(_times(figures, BY_HAND) for figures in results.values())],
        ["of the ceiling", "", *(_of_ceiling(figures, about["workers"]) for figures in results.values())],
        ["trainer's own CPU a batch", "", *(_own_cpu(figures) for figures in results.values())],
    ]
    rows.insert(1, ["---"] * len(rows[0]))
    for row in rows:
        print(f"| {' | '.join(row)} |")


def _rate(figure: dict[str, Any]) -> str:
    return f"{figure['rate']:,.0f} ({min(figure['rounds']):,.0f} to {max(figure['rounds']):,.0f})"


def _of_kind(figures: Figures, kind: str) -> dict[str, Any] | None:
    """The fastest of a kind."""
    return max((f for f in figures.values() if f["kind"] == kind), key=lambda f: f["rate"], default=None)


def _times(figures: Figures, kind: str) -> str:
    ours, other = _of_kind(figures, OURS), _of_kind(figures, kind)
    return f"{ours['rate'] / other['rate']:.2f}" if ours and other else ""


def _of_ceiling(figures: Figures, workers: int) -> str:
    ours, alone = _of_kind(figures, OURS), _of_kind(figures, CEILING)
    return f"{100 * ours['rate'] / (workers * alone['rate']):.0f} %" if ours and alone else ""


def _own_cpu(figures: Figures) -> str:
    ours = _of_kind(figures, OURS)
    return f"{ours['own_cpu_ms_a_batch']:.1f} ms" if ours else ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="a folder of JPEG files; default: made from scikit-learn's photographs")
    parser.add_argument("--count", type=int, default=1000, help="images at most")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=224, help="of the network's input, in pixels")
    parser.add_argument(
        "--crop", choices=("scale", "area"), default="scale", help="the paper's crop, or 8 to 100 %% of the area"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of a round")
    parser.add_argument("--color", choices=(*COLORS, "both"), default="both")
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, metavar="NAME", help=f"of {', '.join(CONTENDERS)}")
    parser.add_argument("--peers", help="a folder with packages of others, as pip install --target makes it")
    parser.add_argument("--check", action="store_true", help="print how far the pixels are from this project's")
    parser.add_argument("--json", help="write the results to this file too")
    parser.add_argument("--chart", help="draw the results to this file (.svg or .png)")
    parser.add_argument("--from-json", nargs="+", help="take the results from these files, and measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()

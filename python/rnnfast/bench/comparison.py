"""Times of rnnfast and of what else is installed, checked and put into tables."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rnnfast import _rnnfast

from . import picture, sweep, sweep_report
from .cases import CASES, KINDS, MODES, SWEEP, Case, select, short, thinned
from .floor import probe
from .peers import PROGRAMS, versions
from .report import Setting, heading, markdown, to_json
from .rows import measure_all

BUDGET, QUICK_BUDGET = 3.0, 0.2
_KINDS_HELP = "\n".join(
    [
        "kinds of rows:",
        *(f"  {kind:<12}{words}" for kind, words in KINDS.items()),
        "",
        "--kinds and --rows choose among all rows. A sweep runs only where --kinds names it; it",
        "times rnnfast alone in three passes, a few minutes in all whatever --budget says, and",
        "reports the points that are worse than those beside them. Stacks and directions are set",
        "against PyTorch and ONNX Runtime, and against one layer in one direction on one thread.",
    ]
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options that `run` reads."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _KINDS_HELP
    add = parser.add_argument
    add("--all", action="store_true", help="every row, not a few of every sort")
    add("--rows", nargs="+", default=[], metavar="PATTERN", help='names, such as "*-100-1-*"')
    kinds = add("--kinds", nargs="+", default=[], choices=KINDS, help="kinds of rows, listed below")
    kinds.metavar = "KIND"
    add("--cells", nargs="+", default=[], metavar="CELL", help="cells, or their beginnings")
    add("--modes", nargs="+", default=[], choices=MODES, help="inference or training")
    add("--programs", nargs="+", default=[], choices=PROGRAMS, help="what to time, not the usual")
    add("--threads", type=positive, default=_cores(), help="of every program (%(default)s)")
    add("--budget", type=float, default=BUDGET, help="seconds a row (%(default)s)")
    add("--quick", action="store_true", help=f"{QUICK_BUDGET} seconds a row, a thinner sweep")
    add("--runs", type=positive, default=1, help="repeat all rows, report the median run")
    add("--out", type=Path, metavar="DIR", help="write tables, JSON and pictures there")
    add("--list", action="store_true", help="print the names of the rows only")


def run(options: argparse.Namespace) -> int:
    """Compare on the cases that the options choose, and print the tables.

    Returns
    -------
    status : int
        Of the process: 1 if our own results are wrong, 2 if there is no such case.
    """
    chosen = _choose(options)
    if options.list or not chosen:
        print("\n".join(case.id for case in chosen) or "no row matches")
        return 0 if chosen else 2
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    setting = Setting(
        command=f"python -m rnnfast {shlex.join(sys.argv[1:])}",
        cpu=_cpu(),
        isa=_rnnfast.isa(),
        threads=options.threads,
        runs=options.runs,
        load=load,
        versions=versions(),
        machine=probe(options.threads),
    )
    wrong: list[str] = []
    if rows := [case for case in chosen if case.kind != "sweep"]:
        wrong += _compare(rows, options, setting)
    if points := [case for case in chosen if case.kind == "sweep"]:
        wrong += _sweep(points, options, setting)
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


def _choose(options: argparse.Namespace) -> tuple[Case, ...]:
    everything = options.all or options.rows or options.kinds
    cases = CASES if everything else short()
    if "sweep" in options.kinds:
        cases += thinned() if options.quick else SWEEP
    return select(
        cases,
        rows=options.rows,
        kinds=options.kinds,
        cells=options.cells,
        modes=options.modes,
    )


def _compare(cases: Sequence[Case], options: argparse.Namespace, setting: Setting) -> list[str]:
    """Time the programs on all rows, and return what is wrong with our own."""
    rows = measure_all(
        cases,
        threads=options.threads,
        budget=QUICK_BUDGET if options.quick else options.budget,
        programs=options.programs,
        machine=setting.machine,
        runs=options.runs,
        progress=_progress,
    )
    text = markdown(rows, setting)
    print(text, end="")
    if options.out is not None:
        _write(options.out / "compare", text, to_json(rows, setting))
        _draw(lambda: picture.save(rows, options.out / "compare.png"))
    return [f"{row.case.id}: {name} {row.absent[name]}" for row in rows for name in row.wrong]


def _sweep(cases: Sequence[Case], options: argparse.Namespace, setting: Setting) -> list[str]:
    """Time rnnfast at all points, and return what is wrong with it."""
    times, missing = sweep.measure(
        cases, threads=options.threads, passes=options.runs * sweep.PASSES, progress=_progress
    )
    wrong = [f"{case.id}: {why}" for case, why in missing.items()]
    text = f"{heading(setting)}\n\n{sweep_report.markdown(times, wrong)}"
    print(text, end="")
    if options.out is not None:
        found = {"setting": asdict(setting), **sweep.as_json(times)}
        _write(options.out / "sweep", text, json.dumps(found, indent=1))
        _draw(lambda: sweep_report.save(times, options.out / "sweep.png"))
    return wrong


def _progress(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _write(path: Path, text: str, found: str) -> None:
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    path.with_suffix(".json").write_text(found, encoding="utf-8")


def _draw(save: Callable[[], None]) -> None:
    try:
        save()
    except ModuleNotFoundError as error:
        print(f"no picture: {error.name} is not installed", file=sys.stderr)


def _cores() -> int:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _cpu() -> str:
    """The processor's name and number of cores."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = (line.partition(":") for line in info.read_text().splitlines())
        name = next((v.strip() for k, _, v in lines if k.strip() == "model name"), name)
    return f"{name}, {_cores()} cores"


def positive(text: str) -> int:
    """Read an integer from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value

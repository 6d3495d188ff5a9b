"""Times of rnnfast and of what else is installed, checked and put into tables."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rnnfast import _rnnfast

from .cases import CASES, KINDS, MODES, select, short
from .floor import probe
from .peers import PROGRAMS, USUAL, versions
from .picture import save
from .report import Setting, markdown, to_json
from .rows import Row, measure_all

BUDGET, QUICK_BUDGET = 3.0, 0.2


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options that `run` reads."""
    add = parser.add_argument
    add("--all", action="store_true", help="every row, not a few of every sort")
    add("--rows", nargs="+", default=[], metavar="PATTERN", help='names, such as "*-100-1-*"')
    add("--kinds", nargs="+", default=[], choices=KINDS, help="kinds of rows")
    add("--cells", nargs="+", default=[], metavar="CELL", help="cells, or their beginnings")
    add("--modes", nargs="+", default=[], choices=MODES, help="inference or training")
    add("--programs", nargs="+", default=USUAL, choices=PROGRAMS, help="what to time")
    add("--threads", type=positive, default=_cores(), help="of every program (%(default)s)")
    add("--budget", type=float, default=BUDGET, help="seconds a row (%(default)s)")
    add("--quick", action="store_true", help=f"{QUICK_BUDGET} seconds a row")
    add("--runs", type=positive, default=1, help="repeat all rows, report the median run")
    add("--out", type=Path, metavar="DIR", help="write tables, JSON and a picture there")
    add("--list", action="store_true", help="print the names of the rows only")


def run(options: argparse.Namespace) -> int:
    """Compare on the cases that the options choose, and print the tables.

    Returns
    -------
    status : int
        Of the process: 1 if our own results are wrong, 2 if there is no such case.
    """
    chosen = select(
        CASES if options.all else short(),
        rows=options.rows,
        kinds=options.kinds,
        cells=options.cells,
        modes=options.modes,
    )
    if options.list or not chosen:
        print("\n".join(case.id for case in chosen) or "no row matches")
        return 0 if chosen else 2
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    machine = probe(options.threads)
    rows = measure_all(
        chosen,
        threads=options.threads,
        budget=QUICK_BUDGET if options.quick else options.budget,
        programs=options.programs,
        machine=machine,
        runs=options.runs,
        progress=lambda message: print(message, file=sys.stderr, flush=True),
    )
    setting = Setting(
        command=f"python -m rnnfast {shlex.join(sys.argv[1:])}",
        cpu=_cpu(),
        isa=_rnnfast.isa(),
        threads=options.threads,
        runs=options.runs,
        load=load,
        versions=versions(),
        machine=machine,
    )
    print(markdown(rows, setting), end="")
    if options.out is not None:
        _write(rows, setting, options.out)
    wrong = [f"{row.case.id}: {name} {row.absent[name]}" for row in rows for name in row.wrong]
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


def _write(rows: Sequence[Row], setting: Setting, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "compare.md").write_text(markdown(rows, setting), encoding="utf-8")
    (folder / "compare.json").write_text(to_json(rows, setting), encoding="utf-8")
    try:
        save(rows, folder / "compare.png")
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

"""The peak memory of one training step, in a fresh process each.

Forward, BPTT and every gradient, for rnnfast, rnnfast with ``checkpoint=True`` and PyTorch. "step"
is what the step adds to the resident memory at its peak, above inputs, weights and libraries;
"process" is all that is resident then.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .cases import CASES, TRAINING, Case, Sizes, select
from .comparison import positive
from .peers import build
from .report import align

PROGRAMS = ("rnnfast", "checkpoint", "torch")
SIZES: tuple[Sizes, ...] = (
    (100, 32, 64, 64), (1000, 16, 64, 64), (50, 64, 256, 256), (50, 64, 512, 512),
    (28, 128, 28, 128),
)  # fmt: skip
LONG: tuple[Sizes, ...] = ((4000, 16, 64, 64),)  # four times the steps of a row of the grid
PROCESS = Path("/proc/self")
MIB = 2**20


def cases() -> list[Case]:
    """Return the rows of the grid whose activations need memory, and longer ones."""
    rows = [case for case in select(CASES, kinds=["grid"], modes=[TRAINING]) if case.sizes in SIZES]
    cells = dict.fromkeys(case.cell for case in rows)
    return rows + [Case("grid", TRAINING, cell, *sizes) for cell in cells for sizes in LONG]


def resident(field: str) -> int:
    """Return VmRSS (now) or VmHWM (peak) of this process in bytes."""
    found = re.search(rf"{field}:\s+(\d+) kB", (PROCESS / "status").read_text())
    if found is None:
        raise RuntimeError(f"{PROCESS / 'status'} has no {field}")
    return 1024 * int(found[1])


def measure(case: Case, program: str, threads: int) -> tuple[int, int]:
    """Return the bytes that a step adds at its peak, and the bytes of the process then."""
    small = replace(case, T=2, B=1)
    build(program, small, small.data(), threads).call()  # loads whatever is loaded late
    ready = build(program, case, case.data(), threads)
    before = resident("VmRSS")
    (PROCESS / "clear_refs").write_text("5")  # the peak starts again from here
    ready.call()
    peak = resident("VmHWM")
    return peak - before, peak


def measure_apart(case: Case, program: str, threads: int) -> tuple[int, int] | None:
    """Measure in a process of its own; None if that fails, and its error is shown."""
    command = [sys.executable, "-m", "rnnfast", "bench", "memory"]
    command += ["--threads", str(threads), "--measure-here", program, "--rows", case.id]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return None
    step, peak = json.loads(done.stdout)
    return step, peak


def table(rows: Sequence[Case], threads: int) -> str:
    """Measure all rows."""
    header = ["row", *(f"{p} {what}" for p in PROGRAMS for what in ("step", "process"))]
    lines = [[*header, "rnnfast / torch", "checkpoint / torch"]]
    for case in rows:
        print(case.id, file=sys.stderr, flush=True)
        found = {program: measure_apart(case, program, threads) for program in PROGRAMS}
        cells = []
        for pair in found.values():
            cells += ["", ""] if pair is None else [f"{size / MIB:.1f}" for size in pair]
        torch = found["torch"]
        for program in PROGRAMS[:2]:
            ours = found[program]
            cells.append("" if ours is None or torch is None else f"{ours[0] / torch[0]:.2f}")
        lines.append([case.id, *cells])
    return align(lines, text_columns=1)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options that `run` reads."""
    add = parser.add_argument
    add("--rows", nargs="+", default=[], metavar="PATTERN", help="names of rows")
    add("--threads", type=positive, default=2, help="of every program (%(default)s)")
    add("--measure-here", choices=PROGRAMS, help="measure the first row in this process, as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the table, or measure one row of it."""
    rows = select(cases(), rows=options.rows)
    if options.measure_here:
        print(json.dumps(measure(rows[0], options.measure_here, options.threads)))
        return 0
    print("MiB\n\n" + table(rows, options.threads))
    return 0

"""The error of rnnfast and of PyTorch against the float64 reference.

One row a problem, trained: the relative root mean square error of the output, and of the gradients
(of each array relative to its own size, then all together), and the ratios of the two programs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from statistics import geometric_mean

from .agree import rms_errors
from .cases import CASES, KINDS, TRAINING, Case, select
from .comparison import positive
from .peers import REFERENCE, Unavailable, build
from .report import align


def errors(case: Case, programs: Sequence[str], threads: int) -> Iterator[tuple[float, float]]:
    """Yield each program's errors of the output and of the gradients."""
    data = case.data()
    reference = build(REFERENCE, case, data.astype("float64"), threads)
    want = reference.results(reference.call())
    for name in programs:
        program = build(name, case, data, threads)
        yield rms_errors(program.results(program.call()), want)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options that `run` reads."""
    add = parser.add_argument
    add("--rows", nargs="+", default=[], metavar="PATTERN", help="names of rows")
    kinds = [kind for kind in KINDS if kind not in ("model", "sweep")]
    add("--kinds", nargs="+", default=["grid", "ragged"], choices=kinds, help="kinds of rows")
    add("--threads", type=positive, default=2, help="of every program (%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    table = [["row", "y", "torch", "ratio", "gradients", "torch", "ratio"]]
    ratios: list[tuple[float, float]] = []
    for case in select(CASES, rows=options.rows, kinds=options.kinds, modes=[TRAINING]):
        print(case.id, file=sys.stderr, flush=True)
        try:
            ours, theirs = errors(case, ("rnnfast", "torch"), options.threads)
        except Unavailable as reason:
            table.append([case.id, str(reason), "", "", "", "", ""])
            continue
        ratios.append((ours[0] / theirs[0], ours[1] / theirs[1]))
        cells = [
            [f"{mine:.2e}", f"{other:.2e}", f"{ratio:.2f}"]
            for mine, other, ratio in zip(ours, theirs, ratios[-1], strict=True)
        ]
        table.append([case.id, *cells[0], *cells[1]])
    if ratios:
        columns = list(zip(*ratios, strict=True))
        for name, of in (("geometric mean", geometric_mean), ("largest", max)):
            y, gradients = (f"{of(column):.2f}" for column in columns)
            table.append([name, "", "", y, "", "", gradients])
    print(align(table, text_columns=1))
    return 0

"""A compact parity check in a process of its own: RNNFAST_ISA=... python compact.py <tier>."""

import sys

from problems import assert_close, make, ragged, tolerance
from rnnfast import _rnnfast, functional, reference
from rnnfast.reference import CELLS

assert _rnnfast.isa() == sys.argv[1], _rnnfast.isa()
for cell in CELLS:
    for dtype in ("float32", "float64"):
        for B, I, H in ((1, 1, 1), (3, 5, 7), (9, 16, 17), (2, 3, 33)):  # noqa: E741
            for reverse in (False, True):
                problem = make(cell, 4, B, I, H, dtype=dtype, lengths=ragged(4, B), reverse=reverse)
                want = problem.astype("float64").vjp(reference)
                assert_close(problem.vjp(functional), want, tolerance(problem))

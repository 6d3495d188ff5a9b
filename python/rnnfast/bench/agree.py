"""How far a program's results are from the reference's, which is asked before anything is timed."""

from __future__ import annotations

import math

import numpy as np

from rnnfast._check import Array

from .cases import Case, Data
from .peers import REFERENCE, Program, build

# How many eps * sqrt(terms of a sum) an array may be off, relative to its largest value. The
# rows' weights contract, so that errors do not add up over time.
FACTOR = 4


def expected(case: Case, data: Data, threads: int) -> dict[str, Array]:
    """Return the results of the float64 reference on the same numbers."""
    return second_results(build(REFERENCE, case, data.astype("float64"), threads))


def second_results(program: Program) -> dict[str, Array]:
    """Return the results of the second call, which show that state and parameters moved on."""
    program.call()
    return program.results(program.call())


def tolerance(case: Case) -> float:
    """Return how far results may be from the reference's, relative to the largest value."""
    terms = max(case.I + case.H, case.steps)  # of a pre-activation, of a weight's gradient
    terms = max(terms, case.vocabulary * max(case.I, case.H))  # of a large gradient's norm
    return FACTOR * float(np.finfo(case.dtype).eps) * math.sqrt(terms)


def disagreement(got: dict[str, Array], want: dict[str, Array], bound: float) -> str | None:
    """Return what is wrong with `got`, or None if all of it is within `bound` of `want`."""
    if got.keys() != want.keys():
        return f"has {', '.join(got)}, expected {', '.join(want)}"
    for name, w in want.items():
        g = got[name]
        if g.shape != w.shape:
            return f"{name} has shape {g.shape}, expected {w.shape}"
        error = float(np.abs(g - w).max() / max(np.abs(w).max(), np.finfo(float).tiny))
        if not error <= bound:  # NaN is wrong
            return f"{name} is off by {error:.2g}, allowed {bound:.2g}"
    return None


def rms_errors(got: dict[str, Array], want: dict[str, Array]) -> tuple[float, float]:
    """Return the relative root mean square errors of y, and of all gradients together."""
    errors = {
        name: math.sqrt(np.mean((got[name] - w) ** 2) / np.mean(np.square(w)))
        for name, w in want.items()
    }
    grads = [error for name, error in errors.items() if name.startswith("d")]
    return errors["y"], math.sqrt(sum(error**2 for error in grads) / max(len(grads), 1))

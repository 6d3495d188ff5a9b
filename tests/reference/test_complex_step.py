"""Gradients of the reference against the complex step: Im f(v + ih) / h, exact to rounding.

Source: W. Squire, G. Trapp, Using complex variables to estimate derivatives of real functions,
SIAM Review 40 (1998).
"""

from typing import Any

import numpy as np
import pytest
from problems import Array, Problem, assert_close, make
from rnnfast import reference
from rnnfast.reference import CELLS

STEP = 1e-100
INPUTS = ("x", "a0", "c0", "W_ax", "W_aa", "b_a", "b_aa", "peephole")


def loss(problem: Problem) -> Any:
    """Sum of all results, each weighted by the gradient that is to come out of it."""
    results = problem.run(reference)
    parts = [(results["a"], problem.da), (results["a_T"], problem.da_T)]
    parts += [(results["c_T"], problem.dc_T)] if problem.two_states else []
    return sum((value * weight).sum() for value, weight in parts)


def complex_step(problem: Problem, name: str) -> Array:
    """The gradient of the loss with respect to one input, element by element."""
    assert problem.da is not None
    exact = problem.astype("complex128").with_(
        da=np.nan_to_num(problem.da), da_T=problem.da_T, dc_T=problem.dc_T
    )
    values = getattr(exact, name)
    gradient = np.empty(values.shape)
    for index in np.ndindex(values.shape):
        values[index] += 1j * STEP
        gradient[index] = loss(exact).imag / STEP
        values[index] = values[index].real
    return gradient


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, [4, 0, 2]])
@pytest.mark.parametrize("cell", CELLS)
def test_every_gradient(cell: str, lengths: list[int] | None, reverse: bool) -> None:
    problem = make(cell, T=4, B=3, I=2, H=3, lengths=lengths, reverse=reverse)
    names = [name for name in INPUTS if getattr(problem, name) is not None]
    results = problem.vjp(reference)
    got = {key.removeprefix("d"): value for key, value in results.items() if key.startswith("d")}
    assert_close(got, {name: complex_step(problem, name) for name in names}, 1e-12)

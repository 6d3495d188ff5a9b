"""The kernels against the reference in float64: everything that a call returns.

H and I lie around the vector widths of all tiers (2 to 16), B around the heights of a tile.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import Problem, assert_close, make, ragged, tolerance
from rnnfast import functional, reference
from rnnfast.reference import CELLS

WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33)
BATCHES = (1, 2, 3, 7, 9, 17)

every_cell = pytest.mark.parametrize("cell", CELLS)
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def check(problem: Problem, **options: Any) -> None:
    """Compare run, and run_vjp with its pullback, with the reference."""
    want = problem.astype("float64").vjp(reference)
    got = problem.vjp(functional, **options)
    assert all(value.dtype == problem.x.dtype for value in got.values())
    assert_close(got, want, tolerance(problem))
    run = problem.run(functional)
    assert_close(run, {name: want[name] for name in run}, tolerance(problem))


@every_cell
@both_dtypes
@pytest.mark.parametrize("H", WIDTHS)
def test_widths_of_the_state(cell: str, dtype: str, H: int) -> None:
    batches, widths = cycle(BATCHES), cycle(WIDTHS)
    for is_ragged in (False, True):
        for reverse in (False, True):
            for checkpoint in (False, True):
                T, B, I = 3 + H % 3, next(batches), next(widths)  # noqa: E741
                lengths = ragged(T, B) if is_ragged else None
                problem = make(cell, T, B, I, H, dtype=dtype, lengths=lengths, reverse=reverse)
                check(problem, checkpoint=checkpoint)


@every_cell
@both_dtypes
@pytest.mark.parametrize("B", BATCHES)
def test_batches_and_widths_of_the_input(cell: str, dtype: str, B: int) -> None:
    for I in WIDTHS:  # noqa: E741
        check(make(cell, 3, B, I, 6, dtype=dtype, lengths=ragged(3, B)))
    check(make(cell, 3, B, 40, 20, dtype=dtype))


@every_cell
@both_dtypes
@pytest.mark.parametrize(
    "sizes", [(200, 3, 2, 3), (40, 33, 5, 9), (3, 20, 70, 130), (2, 70, 9, 65)]
)
@pytest.mark.parametrize("reverse", [False, True])
def test_more_than_one_block(cell: str, dtype: str, sizes: tuple[int, ...], reverse: bool) -> None:
    T, B, I, H = sizes  # noqa: E741
    check(make(cell, T, B, I, H, dtype=dtype, reverse=reverse))
    check(make(cell, T, B, I, H, dtype=dtype, lengths=ragged(T, B), reverse=reverse))
    check(make(cell, T, B, I, H, dtype=dtype, reverse=reverse), checkpoint=True)


@every_cell
@pytest.mark.parametrize(
    "sizes", [(4, 3, 9, 70), (4, 7, 6, 200), (3, 66, 5, 740), (14, 40, 5, 740)]
)
def test_large_weights(cell: str, sizes: tuple[int, ...]) -> None:
    """Threads share the units of a group, and groups one array of weight gradients."""
    T, B, I, H = sizes  # noqa: E741
    for checkpoint in (False, True):
        check(make(cell, T, B, I, H, dtype="float32"), checkpoint=checkpoint)
    short = [min(n, T - 1) for n in ragged(T, B)]  # the last step has no row at all
    check(make(cell, T, B, I, H, dtype="float32", lengths=short))


@every_cell
@both_dtypes
@pytest.mark.parametrize("absent", ["b_a", "b_aa", "a0", "c0", "da", "da_T", "dc_T"])
def test_none(cell: str, dtype: str, absent: str) -> None:
    problem = make(cell, 4, 3, 5, 9, dtype=dtype, lengths=[4, 0, 3])
    check(problem.with_(**{absent: None}))
    check(problem.with_(**{absent: None, "reverse": True}), checkpoint=True)


@every_cell
@both_dtypes
def test_everything_none(cell: str, dtype: str) -> None:
    names = ("b_a", "b_aa", "a0", "c0", "da_T", "dc_T")
    check(make(cell, 4, 3, 5, 9, dtype=dtype).with_(**dict.fromkeys(names)))


@every_cell
@both_dtypes
def test_saturated_gates(cell: str, dtype: str) -> None:
    """Far from 0 an exponential overflows if it is not looked after.

    Each unit sees one input, -512, 0 or 512: nothing cancels, so saturated gates hide rounding.
    """
    problem = make(cell, 4, 3, 5, 9, dtype=dtype)
    one_hot = np.eye(5, dtype=dtype)[np.arange(len(problem.W_ax)) % 5]
    check(problem.with_(x=512 * np.sign(np.round(problem.x)), W_ax=one_hot))


@every_cell
@both_dtypes
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_any_problem(cell: str, dtype: str, data: st.DataObject) -> None:
    T, B = data.draw(st.integers(1, 9), "T"), data.draw(st.integers(1, 20), "B")
    I, H = data.draw(st.integers(0, 20), "I"), data.draw(st.integers(1, 40), "H")  # noqa: E741
    lengths = data.draw(st.none() | st.lists(st.integers(0, T), min_size=B, max_size=B), "lengths")
    reverse, checkpoint = (
        data.draw(st.booleans(), "reverse"),
        data.draw(st.booleans(), "checkpoint"),
    )
    check(
        make(cell, T, B, I, H, dtype=dtype, lengths=lengths, reverse=reverse),
        checkpoint=checkpoint,
    )


@every_cell
@both_dtypes
def test_flushed_denormals_stay_in_the_kernel(cell: str, dtype: str) -> None:
    problem = make(cell, 4, 3, 5, 9, dtype=dtype)
    problem.run(functional)
    problem.vjp(functional)
    small = np.array(np.finfo(dtype).tiny)
    assert small / 2 > 0

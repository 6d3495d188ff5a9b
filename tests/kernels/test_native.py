"""What the extension adds to the functions of one layer: no sequence, packed weights, streams."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problems import Problem, assert_close, make, ragged, tolerance
from rnnfast import _rnnfast, functional
from rnnfast.reference import CELLS

every_cell = pytest.mark.parametrize("cell", CELLS)
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def weights(problem: Problem) -> Any:
    return (*problem.layer[3:], problem.peephole)


def native_run(problem: Problem, **options: Any) -> tuple[Any, Any]:
    """_rnnfast.run with all its positional arguments."""
    return _rnnfast.run(
        *problem.layer, problem.peephole, problem.lengths, problem.reverse, None, **options
    )


def halves(state: Any) -> list[Any]:
    return list(state) if isinstance(state, tuple) else [state]


@every_cell
@both_dtypes
@pytest.mark.parametrize("lengths", [None, [6, 0, 3]])
def test_without_sequence(cell: str, dtype: str, lengths: Any) -> None:
    for reverse in (False, True):
        problem = make(cell, 6, 3, 4, 9, dtype=dtype, lengths=lengths, reverse=reverse)
        _, state = functional.run(*problem.layer, **problem.options)
        a, short = native_run(problem, sequence=False)
        assert a is None
        for got, want in zip(halves(short), halves(state), strict=True):
            assert got.tobytes() == want.tobytes()
        nothing = problem.with_(da=None)
        a, short, pullback = _rnnfast.run_vjp(
            *problem.layer, problem.peephole, problem.lengths, reverse, None, sequence=False
        )
        assert a is None
        for got, want in zip(halves(short), halves(state), strict=True):
            assert got.tobytes() == want.tobytes()
        grads = pullback(None, problem.dstate)
        want = nothing.vjp(functional)
        assert_close(grads, {name: want[f"d{name}"] for name in grads}, tolerance(problem))


@every_cell
@both_dtypes
def test_packed_weights(cell: str, dtype: str) -> None:
    for T, B, H in ((1, 1, 5), (6, 3, 9), (4, 20, 33)):
        problem = make(cell, T, B, 4, H, dtype=dtype, lengths=ragged(T, B))
        packed = _rnnfast.pack(cell, *weights(problem))
        a, state = native_run(problem, packed=packed)
        names = ("a", "a_T", "c_T")
        got = dict(zip(names, [a, *halves(state)], strict=False))
        assert_close(got, problem.run(functional), tolerance(problem))


@every_cell
@both_dtypes
@pytest.mark.parametrize("B", [1, 2, 9])
def test_stream_is_the_whole_sequence(cell: str, dtype: str, B: int) -> None:
    problem = make(cell, 5, B, 4, 9, dtype=dtype)
    want = problem.run(functional)
    changed: Any = [None if w is None else w.copy() for w in weights(problem)]
    stream = _rnnfast.Stream(cell, [tuple(changed)], B)
    for array in changed:
        if array is not None:
            array[...] = np.nan  # the stream holds a snapshot
    stream.set_state(problem.stacked_state)
    out = np.empty((B, 9), dtype)
    for t, x_t in enumerate(problem.x):
        a = stream.step(x_t, out=out if t % 2 else None)
        assert a is out or t % 2 == 0
        assert_close({"a": a}, {"a": want["a"][t]}, tolerance(problem))
    finals = dict(zip(("a_T", "c_T"), [half[0] for half in halves(stream.state)], strict=False))
    assert_close(finals, {name: want[name] for name in finals}, tolerance(problem))


@every_cell
def test_stream_state_is_a_copy(cell: str) -> None:
    problem = make(cell, 1, 3, 4, 5)
    stream = _rnnfast.Stream(cell, [weights(problem)], 3)
    for half in halves(stream.state):
        assert not half.any()
    stream.set_state(problem.stacked_state)
    for half in halves(stream.state):
        half[...] = 99
    for half, given in zip(halves(stream.state), halves(problem.stacked_state), strict=True):
        assert (half == given).all()
    stream.set_state(None)
    for half in halves(stream.state):
        assert not half.any()


@every_cell
@pytest.mark.parametrize("rows", [None, [1], [0, 2], [], np.array([2])])
def test_stream_reset(cell: str, rows: Any) -> None:
    problem = make(cell, 1, 3, 4, 5)
    stream = _rnnfast.Stream(cell, [weights(problem)], 3)
    stream.set_state(problem.stacked_state)
    stream.reset(rows)
    gone = [0, 1, 2] if rows is None else list(rows)
    for half, given in zip(halves(stream.state), halves(problem.stacked_state), strict=True):
        want = given.copy()
        want[:, gone] = 0
        assert (half == want).all()


@every_cell
def test_stream_refuses(cell: str) -> None:
    problem = make(cell, 1, 3, 4, 5)
    stream = _rnnfast.Stream(cell, [weights(problem)], 3)
    stream.set_state(problem.stacked_state)
    for wrong, kind in (
        (np.zeros((2, 4)), ValueError),
        (np.zeros((3, 5)), ValueError),
        (np.zeros((3, 4), "float32"), TypeError),
        ([[0.0] * 4] * 3, TypeError),
    ):
        with pytest.raises(kind, match=r"^x_t (has|is) "):
            stream.step(wrong)
    for rows, kind in (([3], ValueError), ([-4], ValueError), ([0.5], TypeError)):
        with pytest.raises(kind, match=r"^rows has "):
            stream.reset(rows)
    for half, given in zip(halves(stream.state), halves(problem.stacked_state), strict=True):
        assert (half == given).all()


@every_cell
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_no_complex_numbers(cell: str, dtype: str) -> None:
    problem = make(cell, 2, 2, 3, 4).astype(dtype)
    with pytest.raises(TypeError, match=r"^x has dtype complex"):
        problem.run(functional)

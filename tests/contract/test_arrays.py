"""Whatever the memory of an array looks like, and however empty it is, the answer is right."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from problems import Array, assert_close, assert_same_bits, make, ragged, tolerance
from rnnfast import reference
from rnnfast.reference import CELLS

every_cell = pytest.mark.parametrize("cell", CELLS)
T, B, I, H = 4, 3, 3, 5  # noqa: E741
BOUND = 1e-12 * T


def apart(array: Array) -> Array:
    """Every second element of a larger array along each axis."""
    larger = np.full([2 * n for n in array.shape], 99, array.dtype)
    view = larger[(slice(None, None, 2),) * array.ndim]
    view[...] = array
    return view


def backwards(array: Array) -> Array:
    """Negative strides along each axis."""
    turn = (slice(None, None, -1),) * array.ndim
    return array[turn].copy()[turn]


def fortran(array: Array) -> Array:
    """The first axis contiguous."""
    return np.asfortranarray(array)


def unaligned(array: Array) -> Array:
    """One byte off the dtype's alignment."""
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    view = memory.view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned
    return view


def read_only(array: Array) -> Array:
    """Not writeable."""
    view = array.copy()
    view.flags.writeable = False
    return view


VIEWS = (apart, backwards, fortran, unaligned, read_only)


@every_cell
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("view", VIEWS)
def test_any_memory(F: ModuleType, cell: str, dtype: str, view: Callable[[Array], Array]) -> None:
    problem = make(cell, T, B, I, H, dtype=dtype, lengths=ragged(T, B))
    seen = problem.with_(**{name: view(array) for name, array in problem.arrays()})
    assert_close(seen.run(F), problem.run(F), tolerance(problem))
    assert_close(seen.vjp(F), problem.vjp(F), tolerance(problem))


@every_cell
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_have_the_dtype_of_x(F: ModuleType, cell: str, dtype: str) -> None:
    problem = make(cell, T, B, I, H, dtype=dtype)
    none = problem.with_(b_a=None, b_aa=None, a0=None, c0=None, da=None, dc_T=None)
    for results in (problem.run(F), problem.vjp(F), none.run(F), none.vjp(F)):
        assert {value.dtype for value in results.values()} == {np.dtype(dtype)}


@every_cell
def test_broadcast(F: ModuleType, cell: str) -> None:
    """Strides of zero: one step, one sequence, one number, repeated."""
    problem = make(cell, T, B, I, H)
    assert problem.da is not None
    assert problem.a0 is not None
    assert problem.b_a is not None
    for first in (np.s_[:1], np.s_[:, :1], np.s_[:, :, :1]):
        views = {
            "x": np.broadcast_to(problem.x[first], problem.x.shape),
            "da": np.broadcast_to(problem.da[first], problem.da.shape),
            "a0": np.broadcast_to(problem.a0[:1], problem.a0.shape),
            "b_a": np.broadcast_to(problem.b_a[:1], problem.b_a.shape),
        }
        whole = {name: view.copy() for name, view in views.items()}
        assert_close(problem.with_(**views).vjp(F), problem.with_(**whole).vjp(F), BOUND)


@every_cell
def test_batch_first_views(F: ModuleType, cell: str) -> None:
    problem = make(cell, T, B, I, H)
    assert problem.da is not None
    x, da = (array.swapaxes(0, 1).copy().swapaxes(0, 1) for array in (problem.x, problem.da))
    assert_close(problem.with_(x=x, da=da).vjp(F), problem.vjp(F), BOUND)


@every_cell
@pytest.mark.parametrize("view", [lambda a: a, apart, backwards, fortran, unaligned])
def test_out(F: ModuleType, cell: str, view: Callable[[Array], Array]) -> None:
    problem = make(cell, T, B, I, H, lengths=ragged(T, B))
    want = problem.vjp(F)
    out = view(np.full((T, B, H), np.nan))
    a, _ = F.run(*problem.layer, **problem.options, out=out)
    assert a is out
    assert_same_bits({"a": np.ascontiguousarray(out)}, {"a": want["a"]})

    out = view(np.full((T, B, H), np.nan))
    a, _, pullback = F.run_vjp(*problem.layer, **problem.options, out=out)
    assert_same_bits({"a": np.ascontiguousarray(a)}, {"a": want["a"]})
    assert_same_bits({"a": np.ascontiguousarray(out)}, {"a": want["a"]})
    grads = pullback(problem.da, problem.dstate)
    assert_same_bits(grads, {name: want[f"d{name}"] for name in grads})


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
def test_out_may_overlap_the_input(F: ModuleType, cell: str, reverse: bool) -> None:
    problem = make(cell, T, B, H, H, reverse=reverse)
    want = problem.run(F)["a"]
    for shift in (0, 1):
        memory = np.zeros((T + shift, B, H))
        memory[:T] = problem.x
        a, _ = F.run(*problem.with_(x=memory[:T]).layer, **problem.options, out=memory[shift:])
        assert_close({"a": a}, {"a": want}, BOUND)


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "sizes", [(0, 3, 2, 5), (3, 0, 2, 5), (3, 2, 0, 5), (0, 0, 0, 1), (1, 1, 1, 1)]
)
def test_empty(F: ModuleType, cell: str, sizes: tuple[int, ...], reverse: bool) -> None:
    problem = make(cell, *sizes, reverse=reverse)
    for case in (problem, problem.with_(lengths=np.zeros(sizes[1], int))):
        assert_close(case.vjp(F), case.vjp(reference), BOUND)
        assert_close(case.run(F), case.run(reference), BOUND)
    if sizes[0] == 0:
        results = problem.vjp(F)
        assert (results["a_T"] == problem.a0).all()
        assert (results["da0"] == problem.da_T).all()
        assert not results["dW_aa"].any()


@every_cell
def test_an_empty_list_of_lengths(F: ModuleType, cell: str) -> None:
    problem = make(cell, 3, 0, 2, 5)
    assert problem.with_(lengths=[]).run(F)["a"].shape == (3, 0, 5)


@every_cell
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["x", "a0", "W_ax", "W_aa", "b_a"])
def test_nan_and_inf_come_out(F: ModuleType, cell: str, place: str, bad: float, dtype: str) -> None:
    """Where the reference gives NaN or an infinity, so do the kernels; all the rest is right."""
    problem = make(cell, T, B, I, H, dtype=dtype)
    array = getattr(problem, place)
    array[(1,) * array.ndim] = bad
    got, want = problem.run(F), problem.astype("float64").run(reference)
    for name, w in want.items():
        g = got[name].astype("float64")
        np.testing.assert_array_equal(np.isnan(g), np.isnan(w), name)
        infinite = np.isinf(w)
        np.testing.assert_array_equal(g[infinite], w[infinite], name)
        finite = np.isfinite(w)
        assert_close({name: g[finite]}, {name: w[finite]}, BOUND if dtype == "float64" else 1e-5)


@every_cell
def test_nan_of_one_sequence_stays_there(F: ModuleType, cell: str) -> None:
    problem = make(cell, T, B, I, H)
    clean = problem.vjp(F)
    problem.x[1, 1] = np.nan
    got = problem.vjp(F)
    assert np.isnan(got["a"][1:, 1]).all()
    assert np.isnan(got["dW_ax"]).all()
    for name in ("a", "dx"):
        others = {name: got[name][:, [0, 2]]}
        assert_close(others, {name: clean[name][:, [0, 2]]}, BOUND)

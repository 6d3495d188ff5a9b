"""A random call of the functional API, compared with the reference and with itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from problems import Problem, assert_close, assert_same_bits, make, tolerance
from rnnfast import functional, reference
from rnnfast.reference import CELLS

from .space import (
    DTYPES,
    LAYOUTS,
    Generator,
    Results,
    comparable,
    draw_cell,
    draw_lengths,
    draw_sizes,
    drop_some,
    lay_out,
    lay_out_all,
    pick,
    tame,
)
from .threads import use_threads


def draw_problem(rng: Generator) -> Problem:
    """Any problem, its arrays in the usual layout."""
    cell, dtype = draw_cell(rng), pick(rng, DTYPES)
    T, B, I, H = draw_sizes(rng, CELLS[cell].gates, dtype)  # noqa: E741
    problem = make(
        cell, T, B, I, H, dtype=dtype, lengths=draw_lengths(rng, T, B),
        reverse=bool(rng.integers(2)), seed=int(rng.integers(1 << 30)),
    )  # fmt: skip
    return tame(problem)


def describe(problem: Problem) -> str:
    """The problem in a line."""
    T, B, I = problem.x.shape  # noqa: E741
    absent = [n for n in ("b_a", "b_aa", "a0", "c0", "da", "da_T", "dc_T")
              if getattr(problem, n) is None]  # fmt: skip
    lengths = None if problem.lengths is None else problem.lengths.tolist()
    return (
        f"{problem.cell} {problem.x.dtype} T={T} B={B} I={I} H={problem.W_aa.shape[1]}"
        f" lengths={lengths} reverse={problem.reverse} absent={absent}"
    )


def other_padding(problem: Problem) -> Problem:
    """The problem with other values past the lengths."""
    if problem.lengths is None:
        return problem
    padding = np.arange(len(problem.x))[:, None] >= problem.lengths
    changes = {}
    for name in ("x", "da"):
        array = getattr(problem, name)
        if array is not None:
            changes[name] = np.where(padding[..., None], array.dtype.type(1e30), array)
    return problem.with_(**changes)


def frozen_copy(problem: Problem) -> dict[str, bytes]:
    """The content of every array."""
    return {name: array.tobytes() for name, array in problem.arrays()}


def check(rng: Generator, say: Callable[[str], None]) -> None:
    """Draw a problem and check all that a call promises."""
    plain = drop_some(rng, draw_problem(rng))
    laid = lay_out_all(rng, plain)
    plain = laid.with_(**{name: array.copy("C") for name, array in laid.arrays()})
    threads, checkpoint = pick(rng, (1, 2, 2, 5)), bool(rng.integers(2))
    skip = [str(n) for n in ("x", "W_ax", "a0", "b_aa") if rng.random() < 0.1]
    layout = pick(rng, (None, None, *LAYOUTS))
    say(
        f"{describe(plain)} checkpoint={checkpoint} threads={threads} skip={skip} out={layout}"
        f" { ({n: (a.strides, a.flags.writeable) for n, a in laid.arrays()}) }"
    )
    want = plain.astype("float64").vjp(reference)
    with use_threads(1):
        base = plain.vjp(functional, checkpoint=checkpoint)
        near = comparable(plain.cell, base)
        assert_exact(plain, near, {name: want[name] for name in near})
        inference = plain.run(functional)
        assert_same_bits(inference, {name: base[name] for name in inference})
    past_the_end(plain, base)
    with use_threads(threads):
        before = frozen_copy(laid)
        results = laid.vjp(functional, checkpoint=checkpoint)
        assert_same_bits(results, base)
        assert_same_bits(with_out(rng, laid, layout), inference)
        assert frozen_copy(laid) == before, "an argument changed"
        other = other_padding(plain)
        assert_same_bits(other.vjp(functional, checkpoint=checkpoint), base)
        some = plain.vjp(functional, checkpoint=checkpoint, skip=skip)
        assert_same_bits(some, {k: v for k, v in base.items() if k[1:] not in skip})
        again(plain, checkpoint, base)
        into_its_own_input(rng, plain, inference)


def assert_exact(problem: Problem, got: Results, want: Results) -> None:
    """Require what rounding allows: more where it moves the exact results of the problem more.

    A long sequence may be so sensitive that arguments which differ in their last bit give other
    gradients: how much is seen in the reference.
    """
    allowed = tolerance(problem)
    try:
        assert_close(got, want, allowed)
    except AssertionError:
        if problem.x.dtype == np.float64:
            raise
        rounding = 1 + float(np.finfo(np.float32).eps)
        scaled = {n: a * np.float64(rounding) for n, a in problem.astype("float64").arrays()}
        moved = problem.astype("float64").with_(**scaled).vjp(reference)
        for name, w in want.items():
            change = np.abs(moved[name] - w).max() / max(1.0, np.abs(w).max())
            assert_close({name: got[name]}, {name: w}, allowed + 10 * change)


def past_the_end(problem: Problem, results: Results) -> None:
    """Outputs and gradients of the input are 0 past a sequence's length."""
    if problem.lengths is not None:
        padding = np.arange(len(problem.x))[:, None] >= problem.lengths
        for name in ("a", "dx"):
            assert not results[name][padding].any(), f"{name} is not 0 past the lengths"


def with_out(rng: Generator, problem: Problem, layout: str | None) -> Results:
    """The results of run, written into memory of that layout."""
    if layout is None:
        return problem.run(functional)
    T, B, _ = problem.x.shape
    shape = (T, B, problem.W_aa.shape[1])
    out = lay_out(rng, np.full(shape, np.nan, problem.x.dtype), layout)
    results = problem.run(functional, out=out)
    assert results["a"] is out
    return results


def again(problem: Problem, checkpoint: bool, base: Results) -> None:
    """A pullback with retain gives the same as often as it is called."""
    _, _, pullback = functional.run_vjp(*problem.layer, **problem.options, checkpoint=checkpoint)
    for retain in (True, True, False):
        grads = pullback(problem.da, problem.dstate, retain=retain)
        assert_same_bits(grads, {name: base[f"d{name}"] for name in grads})
    try:
        pullback(problem.da, problem.dstate)
    except RuntimeError:
        return
    raise AssertionError("a pullback gave up its memory and answered again")


def into_its_own_input(rng: Generator, problem: Problem, inference: Results) -> None:
    """Where out overlaps x or the initial state, the results are those of a call without."""
    T, B, I = problem.x.shape  # noqa: E741
    if problem.W_aa.shape[1] != I or T == 0:
        return
    shift = int(rng.integers(0, 3))
    memory: Any = np.full((T + 2, B, I), np.nan, problem.x.dtype)
    memory[1 : T + 1] = problem.x
    case = problem.with_(x=memory[1 : T + 1])
    assert_same_bits(case.run(functional, out=memory[shift : T + shift]), inference)
    if problem.a0 is not None:
        memory[0] = problem.a0
        case = problem.with_(a0=memory[0])
        assert_same_bits(case.run(functional, out=memory[:T]), inference)

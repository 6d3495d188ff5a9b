"""Random problems for the tests, and the comparison of everything a call returns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rnnfast.reference import CELLS

Array = NDArray[Any]


@dataclass(frozen=True)
class Problem:
    """The arguments of one run_vjp, and the gradients to take back through it."""

    cell: str
    x: Array  # (T, B, I)
    a0: Array | None  # (B, H)
    c0: Array | None  # (B, H), None for cells with one state
    W_ax: Array  # (G*H, I)
    W_aa: Array  # (G*H, H)
    b_a: Array | None  # (G*H,)
    b_aa: Array | None  # (G*H,)
    peephole: Array | None  # (P, H), None for cells without
    da: Array | None  # (T, B, H)
    da_T: Array | None  # (B, H)
    dc_T: Array | None  # (B, H), None for cells with one state
    lengths: Array | None = None  # (B,)
    reverse: bool = False

    @property
    def two_states(self) -> bool:
        return CELLS[self.cell].states == 2

    @property
    def state(self) -> Any:
        return (self.a0, self.c0) if self.two_states else self.a0

    @property
    def stacked_state(self) -> Any:
        """The state of a stack whose only layer this is, as a native stream has it."""
        state = self.state
        return tuple(half[None] for half in state) if self.two_states else state[None]

    @property
    def dstate(self) -> Any:
        return (self.da_T, self.dc_T) if self.two_states else self.da_T

    @property
    def layer(self) -> Any:
        """The positional arguments of run and run_vjp."""
        return (self.cell, self.x, self.state, self.W_ax, self.W_aa, self.b_a, self.b_aa)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of run and run_vjp."""
        return {"peephole": self.peephole, "lengths": self.lengths, "reverse": self.reverse}

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """Every array of the problem, by name."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                yield field.name, value

    def with_(self, **changes: Any) -> Problem:
        """A copy with other fields."""
        return replace(self, **changes)

    def astype(self, dtype: str) -> Problem:
        """A copy in another dtype."""
        return self.with_(**{k: v.astype(dtype) for k, v in self.arrays() if v.dtype.kind != "i"})

    def run(self, F: Any, **options: Any) -> dict[str, Array]:
        """The results of run, by name."""
        a, state = F.run(*self.layer, **(self.options | options))
        return {"a": a} | self._named(state)

    def vjp(self, F: Any, *, checkpoint: bool = False, **options: Any) -> dict[str, Array]:
        """The results of run_vjp and its pullback, by name; gradients start with d."""
        a, state, pullback = F.run_vjp(*self.layer, **self.options, checkpoint=checkpoint)
        grads = pullback(self.da, self.dstate, **options)
        return {"a": a} | self._named(state) | {f"d{name}": grad for name, grad in grads.items()}

    def _named(self, state: Any) -> dict[str, Array]:
        return {"a_T": state[0], "c_T": state[1]} if self.two_states else {"a_T": state}


def make(
    cell: str,
    T: int,
    B: int,
    I: int,  # noqa: E741
    H: int,
    *,
    dtype: str = "float64",
    lengths: Any = None,
    reverse: bool = False,
    seed: int = 0,
) -> Problem:
    """A problem with every argument given; past a length, x and da are NaN."""
    rng = np.random.default_rng([seed, T, B, I, H])
    G, P, two_states = CELLS[cell].gates, CELLS[cell].params, CELLS[cell].states == 2

    def normal(*shape: int, scale: float = 1.0) -> Array:
        return (scale * rng.standard_normal(shape)).astype(dtype)

    problem = Problem(
        cell,
        x=normal(T, B, I),
        a0=normal(B, H, scale=0.5),
        c0=normal(B, H) if two_states else None,
        W_ax=normal(G * H, I, scale=(I + 1) ** -0.5),
        W_aa=normal(G * H, H, scale=0.7 * H**-0.5),
        b_a=normal(G * H, scale=0.5),
        b_aa=normal(G * H, scale=0.5),
        peephole=normal(P, H, scale=0.5) if P else None,
        da=normal(T, B, H),
        da_T=normal(B, H),
        dc_T=normal(B, H) if two_states else None,
        reverse=reverse,
    )
    if lengths is None:
        return problem
    lengths = np.asarray(lengths, np.int64)
    padding = np.arange(T)[:, None] >= lengths
    assert problem.da is not None
    problem.x[padding] = np.nan
    problem.da[padding] = np.nan
    return problem.with_(lengths=lengths)


def ragged(T: int, B: int) -> Array:
    """Lengths in no order, with 0 and T among them where B allows: T, 0, T - 1, 1, T - 2, ..."""
    b = np.arange(B)
    return np.where(b % 2, b // 2 % (T + 1), T - b // 2 % (T + 1))


def assert_close(got: Mapping[str, Array], want: Mapping[str, Array], tolerance: float) -> None:
    """Compare all results; errors count relative to the largest value of an array, if over 1."""
    assert got.keys() == want.keys()
    for name, w in want.items():
        g = got[name]
        assert g.shape == w.shape, name
        assert np.isfinite(w).all(), f"{name} of the expected results is not finite"
        if w.size:
            error = np.abs(g.astype(w.dtype) - w).max() / max(1.0, np.abs(w).max())
            assert error <= tolerance, f"{name}: error {error:.3g}, tolerance {tolerance:.3g}"


def assert_same_bits(got: Mapping[str, Array], want: Mapping[str, Array]) -> None:
    """Compare all results bit for bit."""
    assert got.keys() == want.keys()
    for name, w in want.items():
        g = got[name]
        assert (g.dtype, g.shape) == (w.dtype, w.shape), name
        assert g.tobytes() == w.tobytes(), name


def tolerance(problem: Problem) -> float:
    """How far kernels may be from the float64 reference, as `assert_close` counts."""
    T, B, I = map(int, problem.x.shape)  # noqa: E741
    if problem.x.dtype == np.float64:
        return 1e-12 * max(T, 1)
    K = max(I + problem.W_aa.shape[1], T * B)  # terms in a pre-activation, in a weight's gradient
    return FLOAT32_FACTOR * float(np.finfo(np.float32).eps) * math.sqrt(K) * max(T, 1)


# Measured over all tests and tiers: at most 1.24.
FLOAT32_FACTOR = 2.5

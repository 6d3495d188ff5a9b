"""One layer in one direction, with the signatures of `rnnfast.functional`."""

from collections.abc import Collection
from typing import Any

import numpy as np

from .. import _check
from .._check import Array, Lengths
from ..wrappers import Pullback, State, refuse
from .cell import Arrays
from .checks import Problem, check_layer, check_skip, find_cell, lengths_or_full, state_or_zeros
from .scan import Step, Weights, backward, forward


def run(
    cell: str,
    x: Array,
    state: State,
    W_ax: Array,
    W_aa: Array,
    b_a: Array | None = None,
    b_aa: Array | None = None,
    *,
    peephole: Array | None = None,
    lengths: Lengths | None = None,
    reverse: bool = False,
    out: Array | None = None,
    **reserved: Any,
) -> tuple[Array, Any]:
    """Run the cell of that name over a batch of sequences.

    Parameters
    ----------
    cell, state, W_ax, W_aa, b_a, b_aa, peephole, lengths, reverse, out, **reserved
        As in `rnnfast.functional.run`.
    x : ndarray, (T, B, I)
        The input: float32, float64, complex64 or complex128; all arrays have its dtype.

    Returns
    -------
    a, state
        As from `rnnfast.functional.run`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what was expected.
    """
    weights = Weights(W_ax, W_aa, b_a, b_aa, peephole)
    a, states, _, _ = _run(cell, x, state, weights, lengths, reverse, out, reserved)
    return a, _as_state(states)


def run_vjp(
    cell: str,
    x: Array,
    state: State,
    W_ax: Array,
    W_aa: Array,
    b_a: Array | None = None,
    b_aa: Array | None = None,
    *,
    peephole: Array | None = None,
    lengths: Lengths | None = None,
    reverse: bool = False,
    out: Array | None = None,
    checkpoint: bool = False,
    **reserved: Any,
) -> tuple[Array, Any, Pullback]:
    """Run the cell as `run` does, and give the function that takes gradients back.

    Parameters
    ----------
    cell, x, state, W_ax, W_aa, b_a, b_aa, peephole, lengths, reverse, out, checkpoint, **reserved
        As in `rnnfast.functional.run_vjp`; `checkpoint` changes nothing here: it is about memory.

    Returns
    -------
    a, state, pullback
        As from `rnnfast.functional.run_vjp`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what was expected; complex arrays have no gradients.
    """
    weights = Weights(W_ax, W_aa, b_a, b_aa, peephole)
    _check.boolean("checkpoint", checkpoint)
    if np.iscomplexobj(x):
        raise TypeError(f"x has dtype {x.dtype}, expected float32 or float64 for gradients")
    a, states, problem, tape = _run(cell, x, state, weights, lengths, reverse, out, reserved)
    return a, _as_state(states), _Pullback(problem, x, weights, tape)


def _run(
    cell: str,
    x: Array,
    state: State,
    weights: Weights,
    lengths: Lengths | None,
    reverse: bool,
    out: Array | None,
    reserved: Collection[str],
) -> tuple[Array, Arrays, Problem, list[Step]]:
    """Check everything, then run forwards."""
    refuse(reserved)
    reverse = _check.boolean("reverse", reverse)
    problem = check_layer(find_cell(cell), x, weights)
    initial = state_or_zeros(problem, "state", state)
    ends = lengths_or_full(problem, lengths)
    if out is not None:
        problem.check("out", out, "T", "B", "H")
        if not out.flags.writeable:
            raise ValueError("out is read-only, expected a writeable array")
    with np.errstate(all="ignore"):  # NaN and Inf in the data are the data's affair
        a, states, tape = forward(problem.cell, x, initial, weights, ends, reverse)
    if out is None:
        return a, states, problem, tape
    out[...] = a
    return out, states, problem, tape


class _Pullback:
    """What run_vjp returns; it holds x and the weights by reference."""

    def __init__(self, problem: Problem, x: Array, weights: Weights, tape: list[Step]) -> None:
        self._problem, self._x, self._weights = problem, x, weights
        self._tape: list[Step] | None = tape

    def __call__(
        self,
        da: Array | None = None,
        dstate: State = None,
        *,
        retain: bool = False,
        skip: Collection[str] = (),
    ) -> dict[str, Array]:
        """Gradients of everything that run_vjp was given, by name."""
        problem, weights = self._problem, self._weights
        if self._tape is None:
            raise RuntimeError("pullback was called before without retain=True")
        if da is not None:
            problem.check("da", da, "T", "B", "H")
        dstates = state_or_zeros(problem, "dstate", dstate)
        check_skip(skip, ("x", "a0", "c0", *Weights._fields))
        retain = _check.boolean("retain", retain)
        with np.errstate(all="ignore"):
            g = backward(problem.cell, self._x, weights, self._tape, da, dstates)
        given = {"x": self._x, **weights._asdict()}
        grads = {
            name: getattr(g, name).reshape(array.shape)
            for name, array in given.items()
            if array is not None
        }
        grads |= zip(("a0", "c0"), g.state, strict=False)
        if not retain:
            self._tape = None
        return {name: grad for name, grad in grads.items() if name not in skip}


def _as_state(states: Arrays) -> Array | Arrays:
    """A state as the caller knows it: one array, or the tuple (a, c)."""
    return states[0] if len(states) == 1 else states

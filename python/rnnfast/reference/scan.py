"""One scan over time for all cells: products, lengths, direction, stages and BPTT.

    x<t> -> W_ax x<t> + b_a          operand -> W_aa operand + b_aa          cell -> state<t>

The backward is backpropagation through time: dL/dW = sum over t of what the use of W at t adds.
Source: P. J. Werbos, Backpropagation through time: what it does and how to do it,
Proceedings of the IEEE 78 (1990).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._check import Array
from .cell import Arrays, Cell


class Weights(NamedTuple):
    """A layer's parameters; a bias or the peepholes may be None (zero)."""

    W_ax: Array  # (G*H, I)
    W_aa: Array  # (G*H, H)
    b_a: Array | None  # (G*H,)
    b_aa: Array | None  # (G*H,)
    peephole: Array | None  # (params, H)

    def by_gate(self) -> "Weights":
        """The same arrays with the gates as their first axis: (G, H, I), (G, H, H), (G, H)."""
        rows, H = self.W_aa.shape
        G = rows // H

        def split(b: Array | None) -> Array | None:
            return None if b is None else b.reshape(G, H)

        return Weights(
            self.W_ax.reshape(G, H, self.W_ax.shape[1]),
            self.W_aa.reshape(G, H, H),
            split(self.b_a),
            split(self.b_aa),
            self.peephole,
        )


class Step(NamedTuple):
    """What the backward needs of one step of time, for the n sequences still running."""

    rows: Array  # (n,) their places in the batch
    t: Array  # (n,) where each is in x and a
    prev: Arrays  # the states before the step, each (n, H)
    operands: Arrays  # what each stage multiplied by its rows of W_aa, each (n, H)
    saved: Arrays  # what the cell saved


@dataclass
class Gradients:
    """Gradients of everything a layer was given; weights by gate, as in Weights.by_gate."""

    x: Array  # (T, B, I)
    state: Arrays  # each (B, H)
    W_ax: Array
    W_aa: Array
    b_a: Array
    b_aa: Array
    peephole: Array


def running(lengths: Array, T: int, reverse: bool) -> Iterator[tuple[Array, Array]]:
    """For each step, the sequences still running and the time at which each of them is.

    A reverse sequence starts at its own end, so that a<t> belongs to x<t> in both directions.
    """
    for step in range(T):
        rows = np.flatnonzero(lengths > step)
        yield rows, (lengths[rows] - 1 - step if reverse else np.full_like(rows, step))


def product(operand: Array, W: Array, b: Array | None) -> Array:
    """W operand + b by gate: operand (n, K), W (gates, H, K), b (gates, H) -> (gates, n, H)."""
    s = operand @ W.transpose(0, 2, 1)
    return s if b is None else s + b[:, None, :]


def forward(
    cell: Cell, x: Array, state: Arrays, weights: Weights, lengths: Array, reverse: bool
) -> tuple[Array, Arrays, list[Step]]:
    """Run all steps; gives a (T, B, H), the final states (B, H) and what the backward needs."""
    w = weights.by_gate()
    state = tuple(s.copy() for s in state)
    a = np.zeros((len(x), *state[0].shape), x.dtype)
    tape = []
    for rows, t in running(lengths, len(x), reverse):
        prev = tuple(s[rows] for s in state)
        operand, operands = prev[0], []
        saved: Arrays = ()
        for stage, k in zip(cell.stages, cell.rows(), strict=True):
            operands.append(operand)
            s_x = product(x[t, rows], w.W_ax[k], None if w.b_a is None else w.b_a[k])
            s_r = product(operand, w.W_aa[k], None if w.b_aa is None else w.b_aa[k])
            made, saved = stage.forward(s_x, s_r, prev, saved, w.peephole)
            operand = made[0]
        for whole, new in zip(state, made, strict=True):
            whole[rows] = new
        a[t, rows] = made[0]
        tape.append(Step(rows, t, prev, tuple(operands), saved))
    return a, state, tape


def backward(
    cell: Cell, x: Array, weights: Weights, tape: list[Step], da: Array | None, dstate: Arrays
) -> Gradients:
    """Backpropagation through time over the steps of `forward`, last to first.

    da (T, B, H) is the gradient of a, None for zero; dstate, each (B, H), of the final states.
    """
    w = weights.by_gate()
    H = w.W_aa.shape[2]
    grads = Gradients(
        x=np.zeros(x.shape, x.dtype),
        state=tuple(d.copy() for d in dstate),
        W_ax=np.zeros(w.W_ax.shape, x.dtype),
        W_aa=np.zeros(w.W_aa.shape, x.dtype),
        b_a=np.zeros((cell.gates, H), x.dtype),
        b_aa=np.zeros((cell.gates, H), x.dtype),
        peephole=np.zeros((cell.params, H), x.dtype),
    )
    for step in reversed(tape):
        _backward_step(cell, x, w, step, da, grads)
    return grads


def _backward_step(
    cell: Cell, x: Array, w: Weights, step: Step, da: Array | None, grads: Gradients
) -> None:
    """Add one step to the gradients; grads.state goes from the new states to the previous."""
    rows, t = step.rows, step.t
    dstate = [d[rows] for d in grads.state]
    if da is not None:
        dstate[0] = dstate[0] + da[t, rows]
    dprev = [np.zeros_like(d) for d in dstate]
    dq = None
    backwards = zip(cell.stages, cell.rows(), step.operands, strict=True)
    for stage, k, operand in reversed(list(backwards)):
        deltas = stage.backward(step.saved, step.prev, tuple(dstate), dq, w.peephole)
        dx, dr = np.stack(deltas.dx), np.stack(deltas.dr)  # (gates, n, H)
        grads.W_ax[k] += dx.transpose(0, 2, 1) @ x[t, rows]
        grads.W_aa[k] += dr.transpose(0, 2, 1) @ operand
        grads.b_a[k] += dx.sum(axis=1)
        grads.b_aa[k] += dr.sum(axis=1)
        for row, dp in zip(grads.peephole, deltas.dp, strict=False):
            row += dp.sum(axis=0)
        grads.x[t, rows] += (dx @ w.W_ax[k]).sum(axis=0)
        dq = (dr @ w.W_aa[k]).sum(axis=0)  # of this stage's operand
        dprev = [d + part for d, part in zip(dprev, deltas.dprev, strict=True)]
    dprev[0] = dprev[0] + dq  # the first stage's operand is a_prev
    for whole, part in zip(grads.state, dprev, strict=True):
        whole[rows] = part

"""Layers without a state: a function of the rows of an array, one a step and sequence."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypeAlias

import numpy as np

from .. import _check
from .._check import Array
from ..ragged import Mask, scatter, step_mask
from .base import Call, Layer
from .pullback import Backward, Gradients
from .state import check_state, refuse_lengths
from .stream import Rows, Stream, check_out, check_rows

# From dy (N, O) and skip to dx (N, I) or None, and the gradients by name.
RowsBackward: TypeAlias = "Callable[[Array, frozenset[str]], tuple[Array | None, dict[str, Any]]]"


class Stateless(Layer):
    """A layer whose output at a step depends on that step's input only.

    N counts the steps of all sequences that lie inside their lengths; the others are 0 in y,
    are not computed, and add nothing to a gradient.
    """

    ragged = True  # lengths mean something: False where what lies past them may be computed too

    @abstractmethod
    def _check_x(self, x: Any) -> Array:
        """Return `x` as an array that the layer can take."""

    @abstractmethod
    def _apply(self, rows: Array) -> Array:
        """Return y (N, O) for rows (N, I), or (N,) of ids, as an array of its own."""

    @abstractmethod
    def _apply_vjp(self, rows: Array, call: Call) -> tuple[Array, RowsBackward]:
        """Return y (N, O), with what is random, and the backward pass."""

    def forward(self, call: Call) -> tuple[Array, None]:
        rows, mask, leading = self._rows(call)
        y = self._apply(rows)
        return y if rows is call.x else scatter(y, mask, leading), None

    def forward_vjp(self, call: Call) -> tuple[Array, None, Backward]:
        rows, mask, leading = self._rows(call)
        y, backward_rows = self._apply_vjp(rows, call)

        def backward(dy: Array, dstate: None, retain: bool, skip: frozenset[str]) -> Gradients:
            dx, grads = backward_rows(_take(dy, mask, leading), skip)
            return Gradients(None if dx is None else scatter(dx, mask, leading), None, grads)

        return scatter(y, mask, leading), None, backward

    def _rows(self, call: Call) -> tuple[Array, Mask | None, tuple[int, ...]]:
        """Return the rows of x that count, their mask, and the axes of x before the features."""
        if call.state is not None:
            refuse_lengths(call.state)
            check_state("state", call.state, None)
        if not call.return_sequence:
            raise ValueError(
                "return_sequence is False, expected True:"
                f" {type(self).__name__} has no state at the end of a sequence"
            )
        x = self._check_x(call.x)
        leading = x.shape if self.takes_ids else x.shape[:-1]
        mask = None
        if call.lengths is not None and self.ragged:
            mask = step_mask(call.lengths, leading, bool(self.batch_first))
        return _take(x, mask, leading), mask, leading

    def stream(self, batch: int = 1) -> Stream:
        return StatelessStream(self, batch)


def _take(x: Array, mask: Mask | None, leading: tuple[int, ...]) -> Array:
    """Return the steps of x that count, with the axes `leading` as one: `scatter` undoes it."""
    if mask is not None:
        return x[mask]
    if len(leading) == 1:
        return x
    return x.reshape(math.prod(leading), *x.shape[len(leading) :])


class StatelessStream(Stream):
    """Stream of a layer that has no state."""

    def __init__(self, layer: Stateless, batch: int) -> None:
        self.batch = _check.integer("batch", batch, 1)
        self._layer = layer
        self.reload()

    def step(self, x_t: Any, out: Array | None = None) -> Array:
        shape = np.shape(x_t)
        leading = shape if self._layer.takes_ids else shape[:-1]
        if leading != (self.batch,) and not (leading == () and self.batch == 1):
            features = "" if self._layer.takes_ids else " I"
            raise ValueError(
                f"x_t has shape {shape}, expected (B,{features}) with B = {self.batch}"
            )
        y, _ = self._snapshot(x_t)
        if out is None:
            return y
        check_out(out, y.dtype, y.shape)
        out[...] = y
        return out

    @property
    def state(self) -> None:
        return None

    @state.setter
    def state(self, state: Any) -> None:
        check_state("state", state, None)

    def reset(self, rows: Rows | None = None) -> None:
        check_rows(rows, self.batch)

    def reload(self) -> None:
        self._snapshot = deepcopy(self._layer)

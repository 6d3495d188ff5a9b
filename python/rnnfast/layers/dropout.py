"""Dropout, as a layer and between the layers of a stack."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _check
from .._check import Array
from .base import Call
from .stateless import RowsBackward, Stateless


def dropout_mask(
    shape: tuple[int, ...], p: float, dtype: np.dtype[Any], rng: np.random.Generator
) -> Array:
    """Return an array that is 0 with probability p and 1 / (1 - p) elsewhere."""
    keep = rng.random(shape, np.float32) >= p
    return np.multiply(keep, 1.0 / (1.0 - p), dtype=dtype)


class Dropout(Stateless):
    """Zero each element with probability p in `vjp`, divide the others by 1 - p [1]_.

    A call, which is inference, returns a copy of its input. `lengths` have no effect.

    Parameters
    ----------
    p : float
        Probability in [0, 1).
    dtype : str
        ``"float32"`` or ``"float64"``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind; the wrong value.

    References
    ----------
    .. [1] N. Srivastava et al., "Dropout: a simple way to prevent neural networks from
       overfitting", JMLR 15 (2014), 1929-1958.
    """

    dtype: np.dtype[Any]
    ragged = False

    def __init__(self, p: float = 0.5, *, dtype: str = "float32") -> None:
        self.p = _check.real("p", p, 0.0, 1.0, "[0, 1)")
        self.dtype = _check.float_dtype(dtype)

    def _check_x(self, x: Any) -> Array:
        checked = _check.array("x", x, self.dtype, None)
        if x.ndim == 0:
            raise ValueError("x has shape (), expected (..., I)")
        return checked

    def _apply(self, rows: Array) -> Array:
        return rows.copy()

    def _apply_vjp(self, rows: Array, call: Call) -> tuple[Array, RowsBackward]:
        mask = dropout_mask(rows.shape, self.p, self.dtype, _check.generator(call.rng))

        def backward(dy: Array, skip: frozenset[str]) -> tuple[Array | None, dict[str, Array]]:
            return dy * mask if call.need_x and "x" not in skip else None, {}

        return rows * mask, backward

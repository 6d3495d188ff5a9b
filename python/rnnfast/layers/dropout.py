"""Dropout, as a layer and between the layers of a stack."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _check
from .._check import RNG, Array, Lengths
from .base import Backward, Gradients, Stateless


def dropout_mask(
    shape: tuple[int, ...], p: float, dtype: np.dtype[Any], rng: np.random.Generator
) -> Array:
    """Return an array that is 0 with probability p and 1 / (1 - p) elsewhere."""
    keep = rng.random(shape, np.float32) >= p
    return np.multiply(keep, 1.0 / (1.0 - p), dtype=dtype)


class Dropout(Stateless):
    """Zero each element with probability p in `vjp`, divide the others by 1 - p [1]_.

    A call, which is inference, returns its input.

    Parameters
    ----------
    p : float
        Probability in [0, 1).
    dtype : str
        ``"float32"`` or ``"float64"``.

    References
    ----------
    .. [1] N. Srivastava et al., "Dropout: a simple way to prevent neural networks from
       overfitting", JMLR 15 (2014), 1929-1958.
    """

    def __init__(self, p: float = 0.5, *, dtype: str = "float32") -> None:
        self.p = _check.real("p", p, 0.0, 1.0, "[0, 1)")
        self.dtype = _check.float_dtype(dtype)
        self._params = {}

    def _run(
        self, x: Array, state: Any, lengths: Lengths | None, return_sequence: bool
    ) -> tuple[Array, None]:
        self._check_call(state, return_sequence)
        return _check.array("x", x, self.dtype, None), None

    def _run_vjp(
        self,
        x: Array,
        state: Any,
        lengths: Lengths | None,
        return_sequence: bool,
        rng: RNG,
        checkpoint: bool,
    ) -> tuple[Array, None, Backward]:
        self._run(x, state, lengths, return_sequence)
        mask = dropout_mask(x.shape, self.p, self.dtype, _check.generator(rng))

        def backward(
            dy: Array | None, dstate: None, retain: bool, skip: frozenset[str]
        ) -> Gradients:
            if "x" in skip:
                return None, None, {}
            return np.zeros(x.shape, self.dtype) if dy is None else dy * mask, None, {}

        return x * mask, None, backward

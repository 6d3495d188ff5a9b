"""The dense layer, which turns hidden units into outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _check, _rnnfast, init
from .._check import RNG, Array, Lengths
from ..ragged import Mask, gather, scatter
from .base import Backward, Gradients, Stateless

ACTIVATIONS = ("identity", "tanh", "relu", "sigmoid", "softmax")


class Dense(Stateless):
    """Dense layer, ``y = g2(W_ya a + b_y)``, on the last axis of its input.

    Parameters
    ----------
    input_size, output_size : int
        H and O, the sizes of the last axis.
    activation : str
        g2: ``"identity"``, ``"tanh"``, ``"relu"``, ``"sigmoid"`` or ``"softmax"``.
    bias : bool
        False leaves out b_y.
    batch_first : bool
        Order of the axes, (B, T, features) or (T, B, features), that `lengths` refers to.
    dtype : str
        ``"float32"`` or ``"float64"``.
    rng : None, int or numpy.random.Generator
        Source of the initial parameters, uniform between -1/sqrt(H) and 1/sqrt(H).

    Notes
    -----
    Parameters: ``weight`` (O, H) and ``bias`` (O). The input has any number of leading axes;
    with `lengths` it has two, and what lies past a length is not computed.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        activation: str = "identity",
        bias: bool = True,
        batch_first: bool = False,
        dtype: str = "float32",
        rng: RNG = None,
    ) -> None:
        self.input_size: int = _check.integer("input_size", input_size, 0)
        self.output_size: int = _check.integer("output_size", output_size, 1)
        self.activation = _check.choice("activation", activation, ACTIVATIONS)
        self.bias = bool(bias)
        self.batch_first = bool(batch_first)
        self.dtype = _check.float_dtype(dtype)
        self._params = {"weight": np.empty((self.output_size, self.input_size), self.dtype)}
        if self.bias:
            self._params["bias"] = np.empty(self.output_size, self.dtype)
        generator = _check.generator(rng)
        for p in self._params.values():
            init.torch_uniform(p, max(self.input_size, 1), rng=generator)

    def _run(
        self, x: Array, state: Any, lengths: Lengths | None, return_sequence: bool
    ) -> tuple[Array, None]:
        mask = self._check_input(x, state, lengths, return_sequence)
        y = _rnnfast.dense(gather(x, mask), *self._weights(), self.activation)
        return scatter(y, mask, x.shape[:-1]), None

    def _run_vjp(
        self,
        x: Array,
        state: Any,
        lengths: Lengths | None,
        return_sequence: bool,
        rng: RNG,
        checkpoint: bool,
    ) -> tuple[Array, None, Backward]:
        mask = self._check_input(x, state, lengths, return_sequence)
        x_rows = gather(x, mask)
        W, b = self._weights()
        y_rows = _rnnfast.dense(x_rows, W, b, self.activation)

        def backward(
            dy: Array | None, dstate: None, retain: bool, skip: frozenset[str]
        ) -> Gradients:
            dy_rows = np.zeros_like(y_rows) if dy is None else gather(dy, mask)
            dx, *grads = _rnnfast.dense_vjp(
                x_rows, W, y_rows, dy_rows, self.activation, "x" not in skip
            )
            if dx is not None:
                dx = scatter(dx, mask, x.shape[:-1])
            named = zip(self._params, grads, strict=False)  # without a bias its gradient is last
            return dx, None, {name: grad for name, grad in named if name not in skip}

        y = scatter(y_rows, mask, x.shape[:-1])
        y.flags.writeable = mask is not None  # False where the backward pass reads it
        return y, None, backward

    def _check_input(
        self, x: Array, state: Any, lengths: Lengths | None, return_sequence: bool
    ) -> Mask | None:
        self._check_call(state, return_sequence)
        _check.array("x", x, self.dtype, None)
        if x.ndim == 0 or x.shape[-1] != self.input_size:
            raise ValueError(f"x has shape {x.shape}, expected (..., H) with H = {self.input_size}")
        return self._rows(x.shape[:-1], lengths)

    def _weights(self) -> tuple[Array, Array | None]:
        return self._params["weight"], self._params.get("bias")

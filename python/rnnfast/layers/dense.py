"""The dense layer, which turns hidden units into outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _check, _rnnfast, init
from .._check import RNG, Array
from .base import Call
from .creation import create
from .pullback import Backward
from .stateless import RowsBackward, Stateless

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
    rng : None, int, sequence of int, SeedSequence, BitGenerator or Generator
        Source of the initial parameters, uniform between -1/sqrt(H) and 1/sqrt(H).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind; the wrong value.

    Warnings
    --------
    `losses.cross_entropy` and `losses.bce` take logits, the outputs of ``"identity"``, and apply
    the softmax or sigmoid themselves. After ``activation="softmax"`` it is applied twice: the
    training runs, and ends in worse predictions.

    Notes
    -----
    Parameters: ``weight`` (O, H) and ``bias`` (O). The input has any number of leading axes;
    with `lengths` it has two, and what lies past a length is not computed.
    """

    dtype: np.dtype[Any]

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
        self.bias = _check.boolean("bias", bias)
        self.batch_first = _check.boolean("batch_first", batch_first)
        self.dtype = _check.float_dtype(dtype)
        shapes: dict[str, tuple[int, ...]] = {"weight": (self.output_size, self.input_size)}
        if self.bias:
            shapes["bias"] = (self.output_size,)
        generator, fan = _check.generator(rng), max(self.input_size, 1)
        self.params = create(
            shapes, self.dtype, lambda p: init.torch_uniform(p, fan, rng=generator)
        )

    def forward_vjp(self, call: Call) -> tuple[Array, None, Backward]:
        y, state, backward = super().forward_vjp(call)
        y.flags.writeable = False  # without lengths the backward pass reads it
        return y, state, backward

    def _check_x(self, x: Any) -> Array:
        checked = _check.array("x", x, self.dtype, None)
        if x.ndim == 0 or x.shape[-1] != self.input_size:
            raise ValueError(f"x has shape {x.shape}, expected (..., H) with H = {self.input_size}")
        return checked

    def _apply(self, rows: Array) -> Array:
        return _rnnfast.dense(rows, *self._weights(), self.activation)

    def _apply_vjp(self, rows: Array, call: Call) -> tuple[Array, RowsBackward]:
        W, b = self._weights()
        y = _rnnfast.dense(rows, W, b, self.activation)

        def backward(dy: Array, skip: frozenset[str]) -> tuple[Array | None, dict[str, Array]]:
            need_x = call.need_x and "x" not in skip
            dx, *grads = _rnnfast.dense_vjp(rows, W, y, dy, self.activation, need_x)
            named = zip(self._params, grads, strict=False)  # without a bias its gradient is last
            return dx, {name: grad for name, grad in named if name not in skip}

        return y, backward

    def _weights(self) -> tuple[Array, Array | None]:
        arrays = self._params._arrays  # a Params itself is slower than a small product
        return arrays["weight"], arrays.get("bias")

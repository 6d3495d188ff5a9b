"""Recurrent layers: stacks of a registry cell, in one or both directions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .. import _check, _rnnfast, init
from .._check import RNG, Array
from .base import Call, Layer
from .creation import create
from .dropout import dropout_mask
from .pullback import Backward, Gradients
from .recurrent_stream import RecurrentStream
from .stacked import CELLS, Stacked, Weights
from .state import check_state, refuse_lengths
from .stream import Stream


def variants(prefix: str) -> tuple[str, ...]:
    """Return what can follow `prefix` in the name of a registry cell."""
    return tuple(name[len(prefix) :] for name in CELLS if name.startswith(prefix))


class Recurrent(Layer):
    """Stack of recurrent layers of one registry cell.

    `RNN`, `LSTM` and `GRU` are this class with their cell's name filled in; a cell without a
    class of its own is reached by name. Each layer and direction computes
    ``a<t> = step(W_ax x<t> + b_a, W_aa a<t-1> + b_aa)``.

    Parameters
    ----------
    cell : str
        Name in the registry: ``rnn_tanh``, ``lstm``, ``lstm_peephole``, ``gru_after``...
    input_size, hidden_size : int
        I and H.
    num_layers : int
        Layers, each of which reads the outputs of the one before.
    bias : bool
        False leaves out both biases.
    batch_first : bool
        x and y are (B, T, features) instead of (T, B, features); states are unchanged.
    dropout : float
        Probability in [0, 1) with which `vjp` zeroes an output of every layer but the last; the
        others are divided by ``1 - dropout``.
    bidirectional : bool
        Run each layer in both directions; y is (T, B, 2*H), the forward direction first.
    dtype : str
        ``"float32"`` or ``"float64"``.
    rng : None, int, sequence of int, SeedSequence, BitGenerator or Generator
        Source of the initial parameters, uniform between -1/sqrt(H) and 1/sqrt(H).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind; the wrong value.

    Warns
    -----
    UserWarning
        If there is dropout, and only one layer: it has nowhere to act.

    Notes
    -----
    The state of a cell is an array (num_layers * directions, B, H), of the LSTM a tuple
    ``(a, c)`` of them, with index ``layer * directions + direction``. Parameters have PyTorch's
    names and shapes, with G gates: ``weight_ih_l0`` is W_ax (G*H, I), ``weight_hh_l0`` W_aa
    (G*H, H), ``bias_ih_l0`` b_a (G*H), ``bias_hh_l0`` b_aa (G*H); the other direction's end in
    ``_reverse``.
    """

    dtype: np.dtype[Any]
    batch_first: bool
    stateful = True

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: str = "float32",
        rng: RNG = None,
    ) -> None:
        self.cell = _check.choice("cell", cell, tuple(CELLS))
        self.input_size: int = _check.integer("input_size", input_size, 0)
        self.hidden_size = _check.integer("hidden_size", hidden_size, 1)
        self.num_layers = _check.integer("num_layers", num_layers, 1)
        self.bias = _check.boolean("bias", bias)
        self.batch_first = _check.boolean("batch_first", batch_first)
        self.dropout = _check.real("dropout", dropout, 0.0, 1.0, "[0, 1)")
        self.bidirectional = _check.boolean("bidirectional", bidirectional)
        self.dtype = _check.float_dtype(dtype)
        self.directions = 2 if self.bidirectional else 1
        self.output_size: int = self.directions * self.hidden_size
        self._stack = Stacked(
            cell, self.input_size, self.hidden_size, self.num_layers, self.directions, self.dtype
        )
        self.num_states: int = self._stack.num_states
        self._names = self._stack.names(self.bias)
        shapes = {
            name: self._stack.shape(weight, k)
            for k, names in enumerate(self._names)
            for weight, name in names.items()
        }
        generator = _check.generator(rng)
        self.params = create(
            shapes, self.dtype, lambda p: init.torch_uniform(p, self.hidden_size, rng=generator)
        )
        self._places = {
            name: (k, weight)
            for k, names in enumerate(self._names)
            for weight, name in names.items()
        }
        self._find_weights()
        if self.dropout and self.num_layers == 1:
            warnings.warn(
                "dropout acts on the outputs of all layers but the last, so that it expects"
                f" num_layers greater than 1, but got dropout={self.dropout} and num_layers=1",
                stacklevel=3,
            )

    def _find_weights(self) -> None:
        """List the weights of each layer and direction, None where the layer has none."""
        params, get = self._params, self._params.get
        self._weights: list[Weights] = [
            (
                params[names["W_ax"]],
                params[names["W_aa"]],
                get(names.get("b_a", "")),
                get(names.get("b_aa", "")),
                get(names.get("peephole", "")),
            )
            for names in self._names
        ]
        self._packed: list[Any] | None = None

    def forward(self, call: Call) -> tuple[Array, Any]:
        self._check_call(call)
        batched = call.x.ndim == 3
        y, final = _rnnfast.run_stack(
            self.cell, self._time_first(call.x), self._stack.with_batch(call.state, batched),
            self._weights, self.directions, call.lengths, self._new_output(call),
            call.return_sequence, self._packed,
        )  # fmt: skip
        return self._results(y, final, batched)

    def forward_vjp(self, call: Call) -> tuple[Array, Any, Backward]:
        self._check_call(call)
        batched, x = call.x.ndim == 3, self._time_first(call.x)
        y, final, pullback = _rnnfast.run_stack_vjp(
            self.cell, x, self._stack.with_batch(call.state, batched),
            self._weights, self.directions, call.lengths, self._new_output(call),
            call.return_sequence, self._masks(x.shape[:2], call.rng), call.checkpoint,
        )  # fmt: skip

        def backward(
            dy: Array | None, dstate: Any, retain: bool, skip: frozenset[str]
        ) -> Gradients:
            dstate = self._stack.with_batch(dstate, batched)
            if dy is not None and call.return_sequence:
                dy = self._time_first(dy)
            elif dy is not None:
                dstate = self._stack.add_to_ends(dstate, dy if batched else dy[None])
                dy = None
            dx, dinitial, grads = pullback.stack(
                dy, dstate, retain, self._skipped(skip if call.need_x else skip | {"x"})
            )
            if dx is not None:
                dx = self._undo_time_first(dx, batched)
            found = {n: grads[k][w] for n, (k, w) in self._places.items() if w in grads[k]}
            return Gradients(dx, self._stack.without_batch(dinitial, batched), found)

        return *self._results(y, final, batched), backward

    def _results(self, y: Array | None, final: Any, batched: bool) -> tuple[Array, Any]:
        """Return the output and the final state as the caller's x asks for them."""
        if y is None:
            y = self._stack.ends(final)
            y = y if batched else y[0]
        else:
            y = self._undo_time_first(y, batched)
        return y, self._stack.without_batch(final, batched)

    def _masks(self, leading: tuple[int, ...], rng: RNG) -> list[Array]:
        """Draw what the outputs of all layers but the last are multiplied by."""
        if not self.dropout:
            return []
        generator, shape = _check.generator(rng), (*leading, self.output_size)
        return [
            dropout_mask(shape, self.dropout, self.dtype, generator)
            for _ in range(self.num_layers - 1)
        ]

    def _skipped(self, skip: frozenset[str]) -> list[tuple[str, ...]]:
        """Return, for each layer and direction, the functional names of the gradients left out."""
        x = ("x",) if "x" in skip else ()
        return [(*x, *(w for w, name in names.items() if name in skip)) for names in self._names]

    def _check_call(self, call: Call) -> None:
        x = call.x
        _check.array("x", x, self.dtype, None)
        axes = "(B, T, I)" if self.batch_first else "(T, B, I)"
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"x has shape {x.shape}, expected {axes} or (T, I) with I = {self.input_size}"
            )
        if x.ndim == 2 and call.lengths is not None:
            raise ValueError(f"lengths is not allowed with an x of shape (T, I), expected {axes}")
        if call.state is not None:
            B = () if x.ndim == 2 else (x.shape[0 if self.batch_first else 1],)
            if not self._stack.fits(call.state, B):
                refuse_lengths(call.state)
                check_state("state", call.state, self._stack.spec(B))

    def _new_output(self, call: Call) -> Array | None:
        """Return an empty array (T, B, D*H), in memory (B, T, D*H).

        None where that is not the order, and what the kernel allocates by itself is right.
        """
        if not self.batch_first or call.x.ndim == 2 or not call.return_sequence:
            return None
        return np.empty((*call.x.shape[:2], self.output_size), self.dtype).swapaxes(0, 1)

    def _time_first(self, x: Array) -> Array:
        """View the caller's x as (T, B, features)."""
        if x.ndim == 2:
            return x[:, None]
        return x.swapaxes(0, 1) if self.batch_first else x

    def _undo_time_first(self, x: Array, batched: bool) -> Array:
        if not batched:
            return x[:, 0]
        return x.swapaxes(0, 1) if self.batch_first else x

    def freeze(self) -> None:
        super().freeze()
        self._packed = [_rnnfast.pack(self.cell, *weights) for weights in self._weights]

    def unfreeze(self) -> None:
        super().unfreeze()
        self._packed = None

    def stream(self, batch: int = 1) -> Stream:
        return RecurrentStream(self, batch)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k not in ("_weights", "_packed")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._find_weights()
        if self._frozen:
            self.freeze()

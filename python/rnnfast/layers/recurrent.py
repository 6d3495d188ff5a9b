"""Recurrent layers: stacks of a registry cell, in one or both directions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

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

# Runs layer and direction number k on x, from a state; returns a, written into out if that is
# given and None without sequence, and the final state.
Runner: TypeAlias = "Callable[[int, Array, Any, Array | None, bool], tuple[Array | None, Any]]"


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
        self._packed: list[Any] = [None] * self._stack.count

    def forward(self, call: Call) -> tuple[Array, Any]:
        packed = self._packed  # read once: another thread may unfreeze meanwhile

        def run(
            k: int, x: Array, state: Any, out: Array | None, sequence: bool
        ) -> tuple[Array | None, Any]:
            return _rnnfast.run(
                self.cell, x, state, *self._weights[k], call.lengths, self._stack.is_reverse(k),
                out, sequence, packed[k],
            )  # fmt: skip

        return self._forward(call, run, lambda y: y)

    def forward_vjp(self, call: Call) -> tuple[Array, Any, Backward]:
        pullbacks: list[Any] = []
        masks: list[Array] = []
        generator = _check.generator(call.rng) if self.dropout else None

        def run(
            k: int, x: Array, state: Any, out: Array | None, sequence: bool
        ) -> tuple[Array | None, Any]:
            a, final, pullback = _rnnfast.run_vjp(
                self.cell, x, state, *self._weights[k], call.lengths, self._stack.is_reverse(k),
                out, sequence, call.checkpoint,
            )  # fmt: skip
            pullbacks.append(pullback)
            return a, final

        def drop(y: Array) -> Array:
            if generator is None:
                return y
            masks.append(dropout_mask(y.shape, self.dropout, self.dtype, generator))
            return y * masks[-1]

        def backward(
            dy: Array | None, dstate: Any, retain: bool, skip: frozenset[str]
        ) -> Gradients:
            batched = call.x.ndim == 3
            dstates = self._stack.split(dstate, batched)
            if dy is not None and call.return_sequence:
                dy = self._time_first(dy)
            elif dy is not None:
                self._stack.add_to_ends(dstates, dy if batched else dy[None])
                dy = None
            skip = skip if call.need_x else skip | {"x"}
            dx, dinitial, grads = self._backward(dy, dstates, retain, skip, pullbacks, masks)
            if dx is not None:
                dx = self._undo_time_first(dx, batched)
            return Gradients(dx, self._stack.join(dinitial, batched), grads)

        return *self._forward(call, run, drop), backward

    def _forward(
        self, call: Call, run: Runner, drop: Callable[[Array], Array]
    ) -> tuple[Array, Any]:
        """Run every layer and direction in the order of their index, with `drop` between."""
        self._check_call(call)
        stack, batched = self._stack, call.x.ndim == 3
        if stack.count == 1 and batched and not self.batch_first:
            # Where the loop below would take longer than the kernel.
            [state] = stack.split(call.state, batched)
            y, final = run(0, call.x, state, None, call.return_sequence)
            return stack.ends([final]) if y is None else y, stack.join([final], batched)
        x = self._time_first(call.x)
        states = stack.split(call.state, batched)
        finals: list[Any] = []
        for layer in range(self.num_layers):
            last = layer == self.num_layers - 1
            sequence = call.return_sequence or not last
            y = None
            if sequence:
                y = self._new_output(x.shape[:2], self.batch_first and batched and last)
            for k in stack.numbers(layer):
                a, final = run(k, x, states[k], stack.columns(y, k), sequence)
                finals.append(final)
            y = a if y is None else y
            if y is not None and not last:
                x = drop(y)
        final = stack.join(finals, batched)
        if y is not None:
            return self._undo_time_first(y, batched), final
        y = stack.ends(finals)
        return y if batched else y[0], final

    def _backward(
        self,
        dy: Array | None,
        dstates: list[Any],
        retain: bool,
        skip: frozenset[str],
        pullbacks: list[Any],
        masks: list[Array],
    ) -> tuple[Array | None, list[Any], dict[str, Array]]:
        """Differentiate `_forward`, for dy (T, B, D*H); return dx (T, B, I) or None."""
        dinitial: list[Any] = [None] * len(pullbacks)
        found: dict[str, Array] = {}
        for layer in reversed(range(self.num_layers)):
            dx: Array | None = None
            for k in self._stack.numbers(layer):
                names = self._names[k]
                leave_out = [weight for weight, name in names.items() if name in skip]
                if layer == 0 and "x" in skip:
                    leave_out.append("x")
                grads = pullbacks[k](
                    self._stack.columns(dy, k), dstates[k], retain=retain, skip=leave_out
                )
                found |= {name: grads[w] for w, name in names.items() if w in grads}
                dinitial[k] = (grads["a0"], grads["c0"]) if self.num_states > 1 else grads["a0"]
                if "x" in grads:
                    dx = grads["x"] if dx is None else np.add(dx, grads["x"], out=dx)
            if masks and layer > 0 and dx is not None:
                dx *= masks[layer - 1]
            dy = dx
        return dy, dinitial, {name: found[name] for name in self._params if name in found}

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
            refuse_lengths(call.state)
            B = () if x.ndim == 2 else (x.shape[0 if self.batch_first else 1],)
            check_state("state", call.state, self._stack.spec(B))

    def _new_output(self, leading: tuple[int, ...], batch_first: bool) -> Array | None:
        """Return an empty array (T, B, D*H), in memory (B, T, D*H) if `batch_first`.

        None where what a cell allocates by itself is the same.
        """
        if batch_first:
            return np.empty((*leading[::-1], self.output_size), self.dtype).swapaxes(0, 1)
        if self.bidirectional:
            return np.empty((*leading, self.output_size), self.dtype)
        return None

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
        self._packed = [None] * self._stack.count

    def stream(self, batch: int = 1) -> Stream:
        return RecurrentStream(self, batch)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k not in ("_weights", "_packed")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._find_weights()
        if self._frozen:
            self.freeze()

"""Recurrent layers: stacks of a registry cell, in one or both directions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .. import _check, _rnnfast, init
from .._check import RNG, Array, Lengths
from .base import Backward, Gradients, Layer, S, Spec, check_state
from .dropout import dropout_mask

if TYPE_CHECKING:
    from .stream import Stream

# The functional API's name of each parameter, by the stem of PyTorch's.
_WEIGHTS = {
    "weight_ih": "W_ax",
    "weight_hh": "W_aa",
    "bias_ih": "b_a",
    "bias_hh": "b_aa",
    "weight_peephole": "peephole",
}
_CELLS = {cell["name"]: cell for cell in _rnnfast.cells()}

# W_ax, W_aa, b_a, b_aa, peephole.
Weights: TypeAlias = "tuple[Array, Array, Array | None, Array | None, Array | None]"

# Runs layer and direction number k on x, from a state; returns a, written into out if that is
# given and None without sequence, and the final state.
Runner: TypeAlias = "Callable[[int, Array, Any, Array | None, bool], tuple[Array | None, Any]]"


def variants(prefix: str) -> tuple[str, ...]:
    """Return what can follow `prefix` in the name of a registry cell."""
    return tuple(name[len(prefix) :] for name in _CELLS if name.startswith(prefix))


class Recurrent(Layer[S]):
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
    rng : None, int or numpy.random.Generator
        Source of the initial parameters, uniform between -1/sqrt(H) and 1/sqrt(H).

    Notes
    -----
    The state of a cell is an array (num_layers * directions, B, H), of the LSTM a tuple
    ``(a, c)`` of them, with index ``layer * directions + direction``. Parameters have PyTorch's
    names and shapes, with G gates: ``weight_ih_l0`` is W_ax (G*H, I), ``weight_hh_l0`` W_aa
    (G*H, H), ``bias_ih_l0`` b_a (G*H), ``bias_hh_l0`` b_aa (G*H); the other direction's end in
    ``_reverse``.
    """

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
        self.cell = _check.choice("cell", cell, tuple(_CELLS))
        self.input_size: int = _check.integer("input_size", input_size, 0)
        self.hidden_size = _check.integer("hidden_size", hidden_size, 1)
        self.num_layers = _check.integer("num_layers", num_layers, 1)
        self.bias = bool(bias)
        self.batch_first = bool(batch_first)
        self.dropout = _check.real("dropout", dropout, 0.0, 1.0, "[0, 1)")
        self.bidirectional = bool(bidirectional)
        self.dtype = _check.float_dtype(dtype)
        self.directions = 2 if self.bidirectional else 1
        self.output_size: int = self.directions * self.hidden_size
        self.num_states: int = _CELLS[cell]["states"]
        self._packed: list[Any] | None = None
        self._names = self._parameter_names()
        self._params = {}
        generator = _check.generator(rng)
        for k, names in enumerate(self._names):
            for weight, name in names.items():
                self._params[name] = np.empty(self._shape(weight, k), self.dtype)
                init.torch_uniform(self._params[name], self.hidden_size, rng=generator)

    def _parameter_names(self) -> list[dict[str, str]]:
        """Return, for each layer and direction, its parameters by their functional names."""
        absent = set() if self.bias else {"b_a", "b_aa"}
        if not _CELLS[self.cell]["params"]:
            absent.add("peephole")
        suffixes = product(range(self.num_layers), ("", "_reverse")[: self.directions])
        return [
            {w: f"{stem}_l{layer}{suffix}" for stem, w in _WEIGHTS.items() if w not in absent}
            for layer, suffix in suffixes
        ]

    def _shape(self, weight: str, k: int) -> tuple[int, ...]:
        H, cell = self.hidden_size, _CELLS[self.cell]
        rows = cell["gates"] * H
        if weight == "W_ax":
            return (rows, self.input_size if k < self.directions else self.output_size)
        return {"W_aa": (rows, H), "peephole": (cell["params"], H)}.get(weight, (rows,))

    def _weights(self, k: int) -> Weights:
        """Return the weights of direction number k, None where the layer has none."""
        names, params = self._names[k], self._params
        W_ax, W_aa = params[names["W_ax"]], params[names["W_aa"]]
        b_a, b_aa = (params[names["b_a"]], params[names["b_aa"]]) if self.bias else (None, None)
        return W_ax, W_aa, b_a, b_aa, params.get(names.get("peephole", ""))

    def _run(
        self, x: Array, state: Any, lengths: Lengths | None, return_sequence: bool
    ) -> tuple[Array, S]:
        packed = self._packed  # read once: another thread may unfreeze meanwhile

        def run(
            k: int, x: Array, state: Any, out: Array | None, sequence: bool
        ) -> tuple[Array | None, Any]:
            return _rnnfast.run(
                self.cell, x, state, *self._weights(k), lengths, self._reverse(k), out,
                sequence, None if packed is None else packed[k],
            )  # fmt: skip

        return self._forward(x, state, lengths, return_sequence, run, lambda y: y)

    def _run_vjp(
        self,
        x: Array,
        state: Any,
        lengths: Lengths | None,
        return_sequence: bool,
        rng: RNG,
        checkpoint: bool,
    ) -> tuple[Array, S, Backward]:
        pullbacks: list[Any] = []
        masks: list[Array] = []
        generator = _check.generator(rng) if self.dropout else None

        def run(
            k: int, x: Array, state: Any, out: Array | None, sequence: bool
        ) -> tuple[Array | None, Any]:
            a, final, pullback = _rnnfast.run_vjp(
                self.cell, x, state, *self._weights(k), lengths, self._reverse(k), out,
                sequence, checkpoint,
            )  # fmt: skip
            pullbacks.append(pullback)
            return a, final

        def drop(y: Array) -> Array:
            if generator is None:
                return y
            masks.append(dropout_mask(y.shape, self.dropout, self.dtype, generator))
            return y * masks[-1]

        y, final = self._forward(x, state, lengths, return_sequence, run, drop)
        batched = x.ndim == 3

        def backward(
            dy: Array | None, dstate: Any, retain: bool, skip: frozenset[str]
        ) -> Gradients:
            dstates = self._split(dstate, batched)
            if dy is not None and return_sequence:
                dy = self._time_first(dy)
            elif dy is not None:
                self._add_to_ends(dstates, dy if batched else dy[None])
                dy = None
            dx, dinitial, grads = self._backward(dy, dstates, retain, skip, pullbacks, masks)
            if dx is not None:
                dx = self._undo_time_first(dx, batched)
            return dx, self._join(dinitial, batched), grads

        return y, final, backward

    def _forward(
        self,
        x: Array,
        state: Any,
        lengths: Lengths | None,
        return_sequence: bool,
        run: Runner,
        drop: Callable[[Array], Array],
    ) -> tuple[Array, S]:
        """Run every layer and direction in the order of their index, with `drop` between."""
        self._check_call(x, state, lengths)
        batched = x.ndim == 3
        x = self._time_first(x)
        states = self._split(state, batched)
        ends: list[Any] = []
        for layer in range(self.num_layers):
            last = layer == self.num_layers - 1
            sequence = return_sequence or not last
            y = None
            if sequence:
                y = self._new_output(x.shape[:2], self.batch_first and batched and last)
            for k in self._numbers(layer):
                a, end = run(k, x, states[k], self._columns(y, k), sequence)
                ends.append(end)
            y = a if y is None else y
            if y is not None and not last:
                x = drop(y)
        final = self._join(ends, batched)
        if y is not None:
            return self._undo_time_first(y, batched), final
        tops = ends[-self.directions :]
        y = np.concatenate([end[0] if self.num_states > 1 else end for end in tops], axis=1)
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
            for k in self._numbers(layer):
                names = self._names[k]
                leave_out = [weight for weight, name in names.items() if name in skip]
                if layer == 0 and "x" in skip:
                    leave_out.append("x")
                grads = pullbacks[k](
                    self._columns(dy, k), dstates[k], retain=retain, skip=leave_out
                )
                found |= {name: grads[w] for w, name in names.items() if w in grads}
                dinitial[k] = (grads["a0"], grads["c0"]) if self.num_states > 1 else grads["a0"]
                if "x" in grads:
                    dx = grads["x"] if dx is None else np.add(dx, grads["x"], out=dx)
            if masks and layer > 0 and dx is not None:
                dx *= masks[layer - 1]
            dy = dx
        return dy, dinitial, {name: found[name] for name in self._params if name in found}

    def _check_call(self, x: Array, state: Any, lengths: Lengths | None) -> None:
        _check.array("x", x, self.dtype, None)
        axes = "(B, T, I)" if self.batch_first else "(T, B, I)"
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"x has shape {x.shape}, expected {axes} or (T, I) with I = {self.input_size}"
            )
        if x.ndim == 2 and lengths is not None:
            raise ValueError(f"lengths is not allowed with an x of shape (T, I), expected {axes}")
        if state is None:
            return
        B = () if x.ndim == 2 else (x.shape[0 if self.batch_first else 1],)
        part = Spec((len(self._names), *B, self.hidden_size), self.dtype)
        check_state("state", state, part if self.num_states == 1 else (part,) * self.num_states)

    def _numbers(self, layer: int) -> range:
        return range(layer * self.directions, (layer + 1) * self.directions)

    def _reverse(self, k: int) -> bool:
        return k % self.directions == 1

    def _columns(self, y: Array | None, k: int) -> Array | None:
        """Return the part of y (T, B, D*H) that belongs to the direction of number k."""
        if y is None or self.directions == 1:
            return y
        start = self.hidden_size * (k % self.directions)
        return y[:, :, start : start + self.hidden_size]

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

    def _split(self, state: Any, batched: bool) -> list[Any]:
        """Return the state of each layer and direction, as the cell takes it."""
        if state is None:
            return [None] * len(self._names)
        halves = (state,) if self.num_states == 1 else state
        split: list[Any] = []
        for k in range(len(self._names)):
            parts = [None if h is None else h[k] if batched else h[k][None] for h in halves]
            split.append(parts[0] if self.num_states == 1 else tuple(parts))
        return split

    def _join(self, states: list[Any], batched: bool) -> Any:
        """Undo `_split`."""
        halves = [states] if self.num_states == 1 else zip(*states, strict=True)
        # np.stack would take as long as a small call of the kernel.
        joined = [p[0][None] if len(p) == 1 else np.stack(p) for p in halves]
        if not batched:
            joined = [half[:, 0] for half in joined]
        return joined[0] if self.num_states == 1 else tuple(joined)

    def _add_to_ends(self, dstates: list[Any], dy: Array) -> None:
        """Add dy (B, D*H), the gradient of the last layer's final outputs, to its states'."""
        for k in self._numbers(self.num_layers - 1):
            da = dy[:, self.hidden_size * (k % self.directions) :][:, : self.hidden_size]
            if self.num_states == 1:
                dstates[k] = da if dstates[k] is None else dstates[k] + da
            else:
                first, *others = dstates[k] or (None,) * self.num_states
                dstates[k] = (da if first is None else first + da, *others)

    def freeze(self) -> None:
        """Declare the parameters unchanging: pack them once and make them read-only.

        Views of them made before stay writeable; writing through one goes unnoticed.
        """
        super().freeze()
        self._packed = [
            _rnnfast.pack(self.cell, *self._weights(k)) for k in range(len(self._names))
        ]

    def unfreeze(self) -> None:
        """Undo `freeze`."""
        super().unfreeze()
        self._packed = None

    def stream(self, batch: int = 1) -> Stream[S]:
        from .stream import RecurrentStream

        return RecurrentStream(self, batch)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_packed": None}  # made again by the copy's freeze()

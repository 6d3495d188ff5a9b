"""Where the layers and directions of a stack lie in its parameters, state and outputs."""

from __future__ import annotations

from itertools import product
from typing import Any, TypeAlias

import numpy as np

from .. import _rnnfast
from .._check import Array
from .state import Spec

CELLS = {cell["name"]: cell for cell in _rnnfast.cells()}

# The functional API's name of each parameter, by the stem of PyTorch's.
WEIGHTS = {
    "weight_ih": "W_ax",
    "weight_hh": "W_aa",
    "bias_ih": "b_a",
    "bias_hh": "b_aa",
    "weight_peephole": "peephole",
}

# W_ax, W_aa, b_a, b_aa, peephole of one layer and direction.
Weights: TypeAlias = "tuple[Array, Array, Array | None, Array | None, Array | None]"


class Stacked:
    """A stack of K layers and directions of a cell, number ``layer * directions + direction``.

    Its state is one array (K, B, H) a state of the cell. A cell takes the part of its number, an
    array (B, H) or a tuple of them; without a batch axis the stacked arrays are (K, H).
    """

    def __init__(
        self, cell: str, inputs: int, H: int, num_layers: int, directions: int, dtype: np.dtype[Any]
    ) -> None:
        self.cell, self.inputs, self.H, self.dtype = CELLS[cell], inputs, H, dtype
        self.count, self.directions = num_layers * directions, directions
        self.num_states: int = self.cell["states"]

    def names(self, bias: bool) -> list[dict[str, str]]:
        """Return, for each number, its parameters by their functional names."""
        absent = set() if bias else {"b_a", "b_aa"}
        if not self.cell["params"]:
            absent.add("peephole")
        suffixes = product(range(self.count // self.directions), ("", "_reverse"))
        return [
            {w: f"{stem}_l{layer}{suffix}" for stem, w in WEIGHTS.items() if w not in absent}
            for layer, suffix in suffixes
            if self.directions == 2 or not suffix
        ]

    def shape(self, weight: str, k: int) -> tuple[int, ...]:
        """Return the shape of number k's parameter of this functional name."""
        rows = self.cell["gates"] * self.H
        if weight == "W_ax":
            return (rows, self.inputs if k < self.directions else self.directions * self.H)
        other = {"W_aa": (rows, self.H), "peephole": (self.cell["params"], self.H)}
        return other.get(weight, (rows,))

    def numbers(self, layer: int) -> range:
        """Return the numbers of the directions of a layer."""
        return range(layer * self.directions, (layer + 1) * self.directions)

    def is_reverse(self, k: int) -> bool:
        """Tell whether number k runs from the end."""
        return k % self.directions == 1

    def columns(self, y: Array | None, k: int) -> Array | None:
        """Return the part of y (..., D*H) that belongs to the direction of number k."""
        if y is None or self.directions == 1:
            return y
        start = self.H * (k % self.directions)
        return y[..., start : start + self.H]

    def spec(self, batch: tuple[int, ...]) -> Any:
        """Return what a state must be: `batch` is (B,), or () without a batch axis."""
        part = Spec((self.count, *batch, self.H), self.dtype)
        return part if self.num_states == 1 else (part,) * self.num_states

    def split(self, state: Any, batched: bool) -> list[Any]:
        """Return each number's part of a state, as the cell takes it."""
        if state is None:
            return [None] * self.count
        if self.num_states == 1:
            return [_part(state, k, batched) for k in range(self.count)]
        numbers = range(self.count)
        return [tuple([_part(half, k, batched) for half in state]) for k in numbers]

    def join(self, states: list[Any], batched: bool) -> Any:
        """Undo `split`, for states that are nowhere None."""
        if self.num_states == 1:
            return _stack(states, batched)
        return tuple([_stack(halves, batched) for halves in zip(*states, strict=True)])

    def ends(self, finals: list[Any]) -> Array:
        """Return the outputs (B, D*H) of the last layer at each sequence's end."""
        tops = finals[-self.directions :]
        outputs = [final[0] if self.num_states > 1 else final for final in tops]
        return np.concatenate(outputs, axis=1)

    def add_to_ends(self, dstates: list[Any], dy: Array) -> None:
        """Add dy (B, D*H), the gradient by `ends`, to the last layer's gradients of states."""
        for k in range(self.count - self.directions, self.count):
            da = self.columns(dy, k)
            if self.num_states == 1:
                dstates[k] = da if dstates[k] is None else dstates[k] + da
            else:
                first, *others = dstates[k] or (None,) * self.num_states
                dstates[k] = (da if first is None else first + da, *others)


def _part(half: Array | None, k: int, batched: bool) -> Array | None:
    if half is None:
        return None
    part: Array = half[k] if batched else half[k][None]
    return part


def _stack(parts: Any, batched: bool) -> Array:
    if len(parts) == 1:  # np.stack would take as long as a small call of the kernel
        alone: Array = parts[0][None] if batched else parts[0]
        return alone
    return np.stack(parts) if batched else np.concatenate(parts)

"""Where the layers and directions of a stack lie in its parameters, state and outputs."""

from __future__ import annotations

from collections.abc import Callable
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

    def spec(self, batch: tuple[int, ...]) -> Any:
        """Return what a state must be: `batch` is (B,), or () without a batch axis."""
        part = Spec((self.count, *batch, self.H), self.dtype)
        return part if self.num_states == 1 else (part,) * self.num_states

    def fits(self, state: Any, batch: tuple[int, ...]) -> bool:
        """Tell whether a state is whole and as `spec` says: quickly, where it is most often so."""
        shape = (self.count, *batch, self.H)
        halves = state if isinstance(state, tuple) else (state,)
        if len(halves) != self.num_states:
            return False
        for half in halves:
            if not isinstance(half, np.ndarray) or half.shape != shape or half.dtype != self.dtype:
                return False
        return True

    def with_batch(self, state: Any, batched: bool) -> Any:
        """Return a state as the kernels take it, with an axis B also of one sequence."""
        if isinstance(state, list):
            state = tuple(state)
        return state if batched else _each(state, lambda half: half[:, None])

    def without_batch(self, state: Any, batched: bool) -> Any:
        """Undo `with_batch`."""
        return state if batched else _each(state, lambda half: half[:, 0])

    def ends(self, final: Any) -> Array:
        """Return the outputs (B, D*H) of the last layer at each sequence's end."""
        a = final[0] if self.num_states > 1 else final
        return np.concatenate(list(a[-self.directions :]), axis=1)

    def add_to_ends(self, dstate: Any, dy: Array) -> Any:
        """Return dstate with dy (B, D*H), the gradient by `ends`, added."""
        halves = dstate if isinstance(dstate, tuple) else (dstate,) * self.num_states
        ends = dy.reshape(len(dy), self.directions, self.H).swapaxes(0, 1)
        first = np.zeros((self.count, *ends.shape[1:]), self.dtype)
        if halves[0] is not None:
            first += halves[0]
        first[-self.directions :] += ends
        return first if self.num_states == 1 else (first, *halves[1:])


def _each(state: Any, change: Callable[[Array], Array]) -> Any:
    """Return a state with each of its arrays changed; None stays."""
    if isinstance(state, tuple):
        return tuple([_each(half, change) for half in state])
    return None if state is None else change(state)

"""The stream of a recurrent layer: the native kernels step all layers of its stack."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Protocol

import numpy as np

from .. import _check, _rnnfast
from .._check import Array
from .stacked import Stacked, Weights
from .state import check_state
from .stream import Rows, Stream, check_out, check_rows


class Layer(Protocol):
    """What a stream reads of its `Recurrent` layer."""

    cell: str
    hidden_size: int
    num_layers: int
    bidirectional: bool
    dtype: np.dtype[Any]
    _stack: Stacked
    _weights: list[Weights]


class RecurrentStream(Stream):
    """Stream of a `Recurrent` layer."""

    def __init__(self, layer: Layer, batch: int) -> None:
        if layer.bidirectional:
            raise ValueError(
                "stream needs bidirectional=False, got a layer with bidirectional=True,"
                " whose second direction starts at the end of the sequence"
            )
        self.batch = _check.integer("batch", batch, 1)
        self._layer = layer
        self._start()

    def _start(self) -> None:
        """Take a snapshot of the layer, with a state of zero."""
        # The native streams keep packed weights only, which a copy of a stream cannot use.
        self._weights = deepcopy(self._layer._weights)
        self._make_cells()

    def _make_cells(self) -> None:
        layer = self._layer
        self._size = (self.batch, layer.hidden_size)
        self._between = [np.empty(self._size, layer.dtype) for _ in range(layer.num_layers - 1)]
        self._cells = [_rnnfast.Stream(layer.cell, *w, self.batch) for w in self._weights]

    def step(self, x_t: Array, out: Array | None = None) -> Array:
        if self._between:
            alone = self.batch == 1 and np.ndim(x_t) == 1  # (I,), without a batch axis
            if out is not None:  # before the first layer's state changes
                check_out(out, self._layer.dtype, self._size[1:] if alone else self._size)
            for cell, between in zip(self._cells, self._between, strict=False):
                x_t = cell.step(x_t, between[0] if alone else between)
        return self._cells[-1].step(x_t, out)

    @property
    def state(self) -> Any:
        return self._layer._stack.join([cell.state for cell in self._cells], batched=True)

    @state.setter
    def state(self, state: Any) -> None:
        self._check_state("state", state)
        parts = self._layer._stack.split(state, self._is_batched(state))
        for cell, part in zip(self._cells, parts, strict=True):
            cell.set_state(part)

    def _check_state(self, name: str, state: Any) -> None:
        batch = (self.batch,) if self._is_batched(state) else ()
        check_state(name, state, self._layer._stack.spec(batch))

    def _is_batched(self, state: Any) -> bool:
        """Tell whether `state` has a batch axis; that of a call on one sequence has none."""
        halves = state if isinstance(state, tuple | list) else (state,)
        return self.batch > 1 or all(np.ndim(h) != 2 for h in halves if isinstance(h, np.ndarray))

    def reset(self, rows: Rows | None = None) -> None:
        chosen = check_rows(rows, self.batch)
        for cell in self._cells:
            cell.reset(chosen)

    def reload(self) -> None:
        state = self.state
        self._start()
        self.state = state

    def __getstate__(self) -> dict[str, Any]:
        return {
            "layer": self._layer, "batch": self.batch, "weights": self._weights,
            "state": self.state,
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._layer, self.batch = state["layer"], state["batch"]
        self._weights = state["weights"]
        self._make_cells()
        self.state = state["state"]

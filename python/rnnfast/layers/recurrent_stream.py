"""The stream of a recurrent layer: one native call steps all layers of its stack."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Protocol

import numpy as np

from .. import _check, _rnnfast
from .._check import Array
from .stacked import Stacked, Weights
from .state import check_state
from .stream import Rows, Stream, check_rows


class Layer(Protocol):
    """What a stream reads of its `Recurrent` layer."""

    cell: str
    bidirectional: bool
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
        # The native stream keeps packed weights only, which a copy of a stream cannot use.
        self._weights = deepcopy(layer._weights)
        self._native = self._make_native(self._weights)

    def _make_native(self, weights: list[Weights]) -> _rnnfast.Stream:
        """Return a native stream of these weights, with a state of zero."""
        return _rnnfast.Stream(self._layer.cell, weights, self.batch)

    def step(self, x_t: Array, out: Array | None = None) -> Array:
        return self._native.step(x_t, out)

    @property
    def state(self) -> Any:
        return self._native.state

    @state.setter
    def state(self, state: Any) -> None:
        self._check_state("state", state)
        self._native.set_state(self._layer._stack.with_batch(state, self._is_batched(state)))

    def _check_state(self, name: str, state: Any) -> None:
        batch = (self.batch,) if self._is_batched(state) else ()
        check_state(name, state, self._layer._stack.spec(batch))

    def _is_batched(self, state: Any) -> bool:
        """Tell whether `state` has a batch axis; that of a call on one sequence has none."""
        arrays = [half for half in _halves(state) if isinstance(half, np.ndarray)]
        return self.batch > 1 or all(half.ndim != 2 for half in arrays)

    def reset(self, rows: Rows | None = None) -> None:
        self._native.reset(check_rows(rows, self.batch))

    def reload(self) -> None:
        weights = deepcopy(self._layer._weights)
        native = self._make_native(weights)
        native.set_state(self._native.state)
        self._weights, self._native = weights, native

    def __getstate__(self) -> dict[str, Any]:
        return {
            "layer": self._layer, "batch": self.batch, "weights": self._weights,
            "state": self.state,
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._layer, self.batch = state["layer"], state["batch"]
        self._weights = state["weights"]
        self._native = self._make_native(self._weights)
        self._native.set_state(state["state"])


def _halves(state: Any) -> Any:
    """Return the parts of a state, also of one that is no tuple of them."""
    return state if isinstance(state, tuple | list) else (state,)

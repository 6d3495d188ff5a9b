"""Streams: a layer's snapshot that takes one step at a time and keeps the state in between."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic

import numpy as np

from .. import _check, _rnnfast
from .._check import Array
from .base import Layer, S, Spec, check_state

if TYPE_CHECKING:
    from .recurrent import Recurrent
    from .sequential import Sequential


class Stream(ABC, Generic[S]):
    """Steps a snapshot of a layer's parameters through sequences that arrive in pieces.

    Made by `Layer.stream`. One stream serves one caller at a time.
    """

    @abstractmethod
    def step(self, x_t: Array, out: Array | None = None) -> Array:
        """Take one step.

        Parameters
        ----------
        x_t : ndarray
            (B, I); or (I,), one sequence without a batch axis, if there is only one.
        out : ndarray, optional
            Array of the result's shape and dtype to write it into.

        Returns
        -------
        y_t : ndarray
            (B, H) or (H,); `out` if it was given.

        Raises
        ------
        TypeError, ValueError
            If `x_t` or `out` has the wrong kind or dtype, or the wrong shape; the state is as
            it was.
        """

    @property
    @abstractmethod
    def state(self) -> S:
        """Copy of the state, as the layer returns it; assign a state, or None, to replace it."""

    @state.setter
    @abstractmethod
    def state(self, state: Any) -> None: ...

    @abstractmethod
    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Set the state to zero, of every sequence or of those with the indices `rows`."""

    @abstractmethod
    def reload(self) -> None:
        """Take the layer's parameters as they are now, and keep the state."""


class RecurrentStream(Stream[S]):
    """Stream of a `Recurrent` layer."""

    def __init__(self, layer: Recurrent[S], batch: int) -> None:
        if layer.bidirectional:
            raise ValueError(
                "stream needs bidirectional=False, got a layer with bidirectional=True,"
                " whose second direction starts at the end of the sequence"
            )
        self.batch = _check.integer("batch", batch, 1)
        self._layer = layer
        self._size = (self.batch, layer.hidden_size)
        self._between = [np.empty(self._size, layer.dtype) for _ in range(layer.num_layers - 1)]
        self._cells = self._snapshot()

    def _snapshot(self) -> list[_rnnfast.Stream]:
        layer = self._layer
        return [
            _rnnfast.Stream(layer.cell, *layer._weights(k), self.batch)
            for k in range(layer.num_layers)
        ]

    def step(self, x_t: Array, out: Array | None = None) -> Array:
        if isinstance(x_t, np.ndarray) and x_t.ndim == 1 and self.batch == 1:
            y: Array = self.step(x_t[None], out[None] if isinstance(out, np.ndarray) else out)[0]
            return y if out is None else out
        if self._between:
            if out is not None:  # before the first layer's state changes
                check_out(out, self._layer.dtype, self._size)
            for cell, between in zip(self._cells, self._between, strict=False):
                x_t = cell.step(x_t, between)
        return self._cells[-1].step(x_t, out)

    @property
    def state(self) -> S:
        joined: S = self._layer._join([cell.state for cell in self._cells], batched=True)
        return joined

    @state.setter
    def state(self, state: Any) -> None:
        spec = Spec((len(self._cells), *self._size), self._layer.dtype)
        n = self._layer.num_states
        check_state("state", state, spec if n == 1 else (spec,) * n)
        for cell, part in zip(self._cells, self._layer._split(state, batched=True), strict=True):
            cell.set_state(part)

    def reset(self, rows: Sequence[int] | None = None) -> None:
        for cell in self._cells:
            cell.reset(rows)

    def reload(self) -> None:
        state, self._cells = self.state, self._snapshot()
        self.state = state


class StatelessStream(Stream[None]):
    """Stream of a layer that has no state."""

    def __init__(self, layer: Layer[None]) -> None:
        self._layer = layer
        self.reload()

    def step(self, x_t: Array, out: Array | None = None) -> Array:
        y, _ = self._snapshot(x_t)
        if out is None:
            return y
        check_out(out, y.dtype, y.shape)
        out[...] = y
        return out

    @property
    def state(self) -> None:
        return None

    @state.setter
    def state(self, state: None) -> None:
        check_state("state", state, None)

    def reset(self, rows: Sequence[int] | None = None) -> None:
        pass

    def reload(self) -> None:
        from copy import deepcopy  # NumPy does without it; this keeps the import of rnnfast fast

        self._snapshot = deepcopy(self._layer)


class SequentialStream(Stream[tuple[Any, ...]]):
    """Stream of a `Sequential`: one stream a layer."""

    def __init__(self, chain: Sequential, batch: int) -> None:
        self._chain = chain
        self._streams = [layer.stream(batch) for layer in chain.layers]

    def step(self, x_t: Array, out: Array | None = None) -> Array:
        if out is not None:  # before the first layer's state changes
            leading = np.shape(x_t) if self._chain.takes_ids else np.shape(x_t)[:-1]
            size = self._chain.output_size or np.shape(x_t)[-1]
            check_out(out, self._chain.dtype, (*leading, size))
        for stream in self._streams[:-1]:
            x_t = stream.step(x_t)
        return self._streams[-1].step(x_t, out)

    @property
    def state(self) -> tuple[Any, ...]:
        return tuple(stream.state for stream in self._streams)

    @state.setter
    def state(self, state: Any) -> None:
        check_state("state", state, self.state)
        parts = (None,) * len(self._streams) if state is None else state
        for stream, part in zip(self._streams, parts, strict=True):
            stream.state = part

    def reset(self, rows: Sequence[int] | None = None) -> None:
        for stream in self._streams:
            stream.reset(rows)

    def reload(self) -> None:
        for stream in self._streams:
            stream.reload()


def check_out(out: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Require that `out` can take a result of this dtype and shape."""
    _check.array("out", out, dtype, shape)
    _check.writeable("out", out)

"""What all streams share: a layer's snapshot takes one step at a time and keeps the state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .. import _check
from .._check import Array
from .state import check_state, specs

Rows: TypeAlias = "list[int] | tuple[int, ...] | npt.NDArray[np.integer[Any] | np.bool_]"


class Stream(ABC):
    """Steps a snapshot of a layer's parameters through sequences that arrive in pieces.

    Made by `Layer.stream`. One stream serves one caller at a time: what another thread asks of it
    in the middle of a step may be a RuntimeError. A copy, of the modules copy or pickle, has the
    snapshot and a state of its own; only that of `copy.copy` goes on reading the same layer in
    `reload`.
    """

    batch: int

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
    def state(self) -> Any:
        """Copy of the state, as the layer returns it; assign a state, or None, to replace it.

        With ``batch=1`` a state without the batch axis, of a call on one sequence (T, I), can be
        assigned too; the copy always has the axis: such a call takes ``state[:, 0]``.
        """

    @state.setter
    @abstractmethod
    def state(self, state: Any) -> None: ...

    @abstractmethod
    def reset(self, rows: Rows | None = None) -> None:
        """Set the state to zero.

        Parameters
        ----------
        rows : integers, or booleans (B,), optional
            Indices of the sequences to reset, or a mask of them; all of them by default.

        Raises
        ------
        TypeError, ValueError
            If `rows` is of another kind, or outside the batch; the state is as it was.
        """

    @abstractmethod
    def reload(self) -> None:
        """Take the layer's parameters as they are now, and keep the state."""

    def _check_state(self, name: str, state: Any) -> None:
        """Require that `state`, called `name`, can be assigned to the stream's state."""
        check_state(name, state, specs(self.state))


def check_out(out: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Require that `out` can take a result of this dtype and shape."""
    _check.array("out", out, dtype, shape)
    _check.writeable("out", out)


def check_rows(rows: Any, batch: int) -> list[int]:
    """Return the argument `rows` of `Stream.reset` as a list of indices."""
    if rows is None:
        return list(range(batch))
    expected = f"expected integers, or booleans (B,) = ({batch},)"
    if isinstance(rows, np.ndarray) and rows.ndim == 1 and rows.dtype.kind in "iub":
        rows = rows.tolist()
    if not isinstance(rows, list | tuple):
        came = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else ""
        raise TypeError(f"rows is a {type(rows).__name__} {came}".rstrip() + f", {expected}")
    if rows and all(isinstance(b, bool | np.bool_) for b in rows):
        if len(rows) != batch:
            raise ValueError(f"rows has {len(rows)} booleans, {expected}")
        return [b for b, chosen in enumerate(rows) if chosen]
    for b in rows:
        if isinstance(b, bool | np.bool_) or not isinstance(b, int | np.integer):
            raise TypeError(f"rows has a {type(b).__name__}, {expected}")
        if not 0 <= b < batch:
            raise ValueError(f"rows has {b}, expected 0 <= row < B = {batch}")
    return [int(b) for b in rows]

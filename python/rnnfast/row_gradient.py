"""The gradient of a table of which a step uses a few rows only."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _check
from ._check import Array

__all__ = ["RowGradient"]


class RowGradient:
    """Gradient of a table (N, E) that is zero except in some of its rows.

    Its time and memory do not grow with N. The pullback of an ``Embedding(sparse=True)`` gives
    it, and optimisers update only its rows.

    Parameters
    ----------
    rows : ndarray of int64 (n,)
        Indices of the rows that are not zero, ascending, each once.
    values : ndarray (n, E)
        Gradient of these rows, float32 or float64.
    shape : tuple of int
        (N, E), the shape of the table.

    Raises
    ------
    TypeError
        If `rows` or `values` has another kind or dtype.
    ValueError
        If a shape differs, or `rows` is not ascending or not inside the table.
    """

    __slots__ = ("rows", "shape", "values")

    def __init__(self, rows: Array, values: Array, shape: tuple[int, ...]) -> None:
        if not isinstance(shape, tuple) or len(shape) != 2:
            raise ValueError(f"shape is {shape!r}, expected a tuple (N, E)")
        N, E = (_check.integer(f"shape[{i}]", n, 0) for i, n in enumerate(shape))
        self.rows = _check.array("rows", rows, np.dtype(np.int64), None)
        if rows.ndim != 1:
            raise ValueError(f"rows has shape {rows.shape}, expected (n,)")
        self.values = _check.float_array("values", values)
        if values.shape != (rows.size, E):
            expected = (rows.size, E)
            raise ValueError(f"values has shape {values.shape}, expected (n, E) = {expected}")
        if rows.size and (rows[0] < 0 or rows[-1] >= N or np.any(rows[1:] <= rows[:-1])):
            raise ValueError(f"rows is {rows}, expected ascending integers, 0 <= row < N = {N}")
        self.shape = (N, E)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values, which is the table's."""
        dtype: np.dtype[Any] = self.values.dtype
        return dtype

    def dense(self) -> Array:
        """Return the whole gradient (N, E) as an array."""
        whole = np.zeros(self.shape, self.dtype)
        whole[self.rows] = self.values
        return whole

    def __repr__(self) -> str:
        return f"RowGradient({self.rows.size} rows of a {self.dtype} table {self.shape})"

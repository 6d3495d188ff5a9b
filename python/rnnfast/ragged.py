"""Ragged batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from . import _check
from ._check import Array, Lengths

__all__ = ["pad"]

Mask: TypeAlias = npt.NDArray[np.bool_]


def pad(sequences: Sequence[Array]) -> tuple[Array, npt.NDArray[np.int64]]:
    """Put sequences of different lengths side by side, with zeros behind them.

    Parameters
    ----------
    sequences : sequence of ndarray (T_i, F)
        B sequences of one dtype, with the same features; ids for an `Embedding` are (T_i,).

    Returns
    -------
    x : ndarray (T, B, F)
        T is the largest length.
    lengths : ndarray (B,)
        T_i, for the argument `lengths` of layers and losses.

    Raises
    ------
    TypeError, ValueError
        If a sequence is no ndarray, has another dtype or other features; if there is none.
    """
    if isinstance(sequences, np.ndarray) or not isinstance(sequences, Sequence):
        raise TypeError(
            f"sequences is a {type(sequences).__name__}, expected a list of arrays (T_i, F)"
        )
    if not sequences:
        raise ValueError("sequences is empty, expected at least one array (T_i, F)")
    for i, s in enumerate(sequences):
        if not isinstance(s, np.ndarray):
            raise TypeError(f"sequences[{i}] is a {type(s).__name__}, expected an ndarray (T_i, F)")
        if s.ndim == 0:
            raise ValueError(f"sequences[{i}] has shape (), expected (T_i, F)")
        if s.dtype != sequences[0].dtype:
            raise TypeError(
                f"sequences[{i}] has dtype {s.dtype}, expected {sequences[0].dtype} as sequences[0]"
            )
        if s.shape[1:] != sequences[0].shape[1:]:
            raise ValueError(
                f"sequences[{i}] has shape {s.shape}, expected"
                f" (T_i, {', '.join(map(str, sequences[0].shape[1:]))}) as sequences[0]"
            )
    lengths = np.array([len(s) for s in sequences], np.int64)
    first = sequences[0]
    x = np.zeros((lengths.max(), len(sequences), *first.shape[1:]), first.dtype)
    for i, s in enumerate(sequences):
        x[: len(s), i] = s
    return x, lengths


def step_mask(lengths: Lengths, leading: tuple[int, ...], batch_first: bool) -> Mask:
    """Return the mask of the steps inside their sequence's length, of the shape `leading`."""
    if len(leading) != 2:
        axes = "(B, T)" if batch_first else "(T, B)"
        raise ValueError(f"lengths is not allowed with the leading axes {leading}, expected {axes}")
    T, B = leading[::-1] if batch_first else leading
    if isinstance(lengths, list | tuple):
        items = [_check.integer(f"lengths[{b}]", n, 0) for b, n in enumerate(lengths)]
        lengths = np.array(items, np.int64)
    elif not isinstance(lengths, np.ndarray):
        raise TypeError(
            f"lengths is a {type(lengths).__name__}, expected a list or array of integers"
        )
    if lengths.dtype.kind not in "iu":
        raise TypeError(f"lengths has dtype {lengths.dtype}, expected integers")
    if lengths.shape != (B,):
        raise ValueError(f"lengths has shape {lengths.shape}, expected (B,) = ({B},)")
    outside = (lengths < 0) | (lengths > T)
    if outside.any():
        raise ValueError(f"lengths contains {lengths[outside][0]}, expected 0 <= length <= T = {T}")
    inside: Mask = np.arange(T)[:, None] < lengths
    return inside.T if batch_first else inside


def gather(x: Array, mask: Mask | None) -> Array:
    """Return the features (N, F) of the steps of x that count: all of them if mask is None."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) if mask is None else x[mask]


def scatter(rows: Array, mask: Mask | None, leading: tuple[int, ...]) -> Array:
    """Undo `gather`: return (*leading, F), with 0 at the steps that do not count."""
    shape = (*leading, rows.shape[-1])
    if mask is None:
        return rows.reshape(shape)
    x = np.zeros(shape, rows.dtype)
    x[mask] = rows
    return x

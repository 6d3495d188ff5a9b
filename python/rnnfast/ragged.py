"""Ragged batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from . import _check
from ._check import Array, Lengths

__all__ = ["pad"]

Mask: TypeAlias = npt.NDArray[np.bool_]


def pad(
    sequences: Sequence[Array | Sequence[Any]], *, batch_first: bool = False
) -> tuple[Array, npt.NDArray[np.int64]]:
    """Put sequences of different lengths side by side, with zeros behind them.

    Parameters
    ----------
    sequences : sequence of ndarray (T_i, F)
        B sequences of one dtype, with the same features; ids for an `Embedding` are (T_i,).
        Lists of numbers will do: integers become int64, other numbers float64.
    batch_first : bool
        Order of the axes of x.

    Returns
    -------
    x : ndarray (T, B, F); (B, T, F) with `batch_first`
        T is the largest length.
    lengths : ndarray (B,)
        T_i, for the argument `lengths` of layers and losses.

    Raises
    ------
    TypeError, ValueError
        If a sequence is neither an ndarray nor a list of numbers, has another dtype or other
        features; if there is none.
    """
    batch_first = _check.boolean("batch_first", batch_first)
    if isinstance(sequences, np.ndarray) or not isinstance(sequences, Sequence):
        raise TypeError(
            f"sequences is a {type(sequences).__name__}, expected a list of arrays (T_i, F)"
        )
    if not sequences:
        raise ValueError("sequences is empty, expected at least one array (T_i, F)")
    arrays = _arrays(sequences)
    first = arrays[0]
    for i, s in enumerate(arrays):
        if s.ndim == 0:
            raise ValueError(f"sequences[{i}] has shape (), expected (T_i, F)")
        if s.dtype != first.dtype:
            raise TypeError(
                f"sequences[{i}] has dtype {s.dtype}, expected {first.dtype} as sequences[0]"
            )
        if s.shape[1:] != first.shape[1:]:
            raise ValueError(
                f"sequences[{i}] has shape {s.shape}, expected"
                f" ({', '.join(['T_i', *map(str, first.shape[1:])])}) as sequences[0]"
            )
    lengths = np.array([len(s) for s in arrays], np.int64)
    B, T = len(arrays), lengths.max()
    x = np.zeros(((B, T) if batch_first else (T, B)) + first.shape[1:], first.dtype)
    for row, s in zip(x if batch_first else x.swapaxes(0, 1), arrays, strict=True):
        row[: len(s)] = s
    return x, lengths


def _arrays(sequences: Sequence[Any]) -> list[Array]:
    """Return the sequences as arrays, those that are lists in one dtype."""
    arrays = [
        s if isinstance(s, np.ndarray) else _numbers(f"sequences[{i}]", s)
        for i, s in enumerate(sequences)
    ]
    lists = [i for i, s in enumerate(sequences) if not isinstance(s, np.ndarray)]
    # An empty list has neither dtype nor features: it takes those of the others.
    full = [arrays[i] for i in lists if len(arrays[i])] or [s for s in arrays if s.ndim and len(s)]
    for i in lists if full else ():
        dtype = np.result_type(*(s.dtype for s in full))
        s = arrays[i]
        arrays[i] = s.astype(dtype) if len(s) else np.zeros((0, *full[0].shape[1:]), dtype)
    return arrays


def _numbers(name: str, value: Any) -> Array:
    """Return a list (T_i) or (T_i, F) of numbers as an array."""
    if not isinstance(value, list | tuple):
        raise TypeError(
            f"{name} is a {type(value).__name__}, expected an ndarray (T_i, F) or list of numbers"
        )
    try:
        numbers = np.array(value)
    except ValueError:
        raise ValueError(f"{name} has lists of different lengths, expected (T_i, F)") from None
    if numbers.dtype.kind not in "iuf":
        raise TypeError(f"{name} is a list of {numbers.dtype}, expected a list of numbers")
    return numbers


def step_mask(lengths: Lengths, leading: tuple[int, ...], batch_first: bool) -> Mask:
    """Return the mask of the steps inside their sequence's length, of the shape `leading`."""
    if len(leading) != 2:
        axes = "(B, T)" if batch_first else "(T, B)"
        raise ValueError(f"lengths is not allowed with the leading axes {leading}, expected {axes}")
    T, B = leading[::-1] if batch_first else leading
    inside: Mask = np.arange(T)[:, None] < _check.lengths(lengths, T, B)
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

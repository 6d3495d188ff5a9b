"""Checks of states: trees of tuples whose leaves are arrays or None."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _check


class Spec:
    """The shape and dtype that an array must have."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype


def specs(state: Any) -> Any:
    """Return the tree `state` with a Spec for each array, which keeps none of them alive."""
    if state is None:
        return None
    if isinstance(state, tuple):
        return tuple(map(specs, state))
    return Spec(state.shape, state.dtype)


def is_zero(state: Any) -> bool:
    """Tell whether the tree `state` is None in every part."""
    return state is None or (isinstance(state, tuple | list) and all(map(is_zero, state)))


def check_parts(name: str, value: Any, parts: int) -> None:
    """Require that the state `value` is a tuple of this many parts."""
    if not isinstance(value, tuple | list):
        raise TypeError(f"{name} is a {type(value).__name__}, expected a tuple of {parts}")
    if len(value) != parts:
        raise ValueError(f"{name} has {len(value)} parts, expected {parts}")


def check_state(name: str, value: Any, like: Any) -> None:
    """Require that the tree `value` is None or has the structure, shapes and dtypes of `like`.

    A leaf of `like` is a Spec or None; any part of `value` may be None, which stands for zeros.
    """
    if _fits(value, like):  # without the names, which take as long as a small call of the kernel
        return
    if like is None:
        raise TypeError(f"{name} is a {type(value).__name__}, expected None: there is no state")
    if isinstance(like, Spec):
        _check.array(name, value, like.dtype, like.shape)
        return
    check_parts(name, value, len(like))
    for i, (part, part_like) in enumerate(zip(value, like, strict=True)):
        check_state(f"{name}[{i}]", part, part_like)


def _fits(value: Any, like: Any) -> bool:
    if value is None:
        return True
    if isinstance(like, Spec):
        is_array = isinstance(value, np.ndarray)
        return is_array and value.shape == like.shape and value.dtype == like.dtype
    is_tree = isinstance(value, tuple) and isinstance(like, tuple) and len(value) == len(like)
    return is_tree and all(map(_fits, value, like))


def refuse_lengths(state: Any) -> None:
    """Require that `state` is not what was meant as lengths, the argument after it."""
    if isinstance(state, np.ndarray):
        are_lengths = state.ndim == 1 and state.dtype.kind in "iu"
    else:
        is_list = isinstance(state, tuple | list) and len(state) > 0
        are_lengths = is_list and isinstance(state[0], int | np.integer)
    if are_lengths:
        raise TypeError(
            f"state is {state!r}, expected a state: lengths is the third argument, lengths=..."
        )

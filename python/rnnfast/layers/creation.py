"""Where the arrays of a new layer's parameters come from: they are drawn, or a file has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from .. import _check
from .._check import Array

_given: ContextVar[Mapping[str, Array] | None] = ContextVar("given", default=None)


@contextmanager
def given(arrays: Mapping[str, Array]) -> Iterator[None]:
    """Have the one layer that is made inside take these arrays, if they are what it declares.

    So a file can neither make a layer allocate what the file does not hold, nor are parameters
    drawn that would be overwritten at once.
    """
    token = _given.set(arrays)
    try:
        yield
    finally:
        _given.reset(token)


def create(
    shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any], fill: Callable[[Array], None]
) -> dict[str, Array]:
    """Return parameters of these shapes, each filled in place, in order."""
    arrays = _given.get()
    if arrays is None:
        params = {name: np.empty(shape, dtype) for name, shape in shapes.items()}
        for p in params.values():
            fill(p)
        return params
    _check.same_keys("params", arrays, shapes)
    for name, shape in shapes.items():
        _check.array(f"params[{name!r}]", arrays[name], dtype, shape)
    return {name: np.require(arrays[name], None, ["C", "A", "W"]) for name in shapes}

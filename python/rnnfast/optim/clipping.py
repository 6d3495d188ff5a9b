"""Gradients that are too large, scaled down."""

from __future__ import annotations

import math

import numpy as np

from .. import _check, _rnnfast
from .._check import Array
from ..row_gradient import RowGradient
from .base import Nested
from .names import flatten


def clip_by_norm(grads: Nested, max_norm: float) -> float:
    """Scale all gradients in place so that their common 2-norm is at most `max_norm` [1]_.

    Parameters
    ----------
    grads : mapping of str to ndarray or RowGradient
        Gradients, taken together as one vector; nested as for `Optimizer.step`.
    max_norm : float
        Positive.

    Returns
    -------
    norm : float
        The norm before. If it is not finite, nothing is scaled.

    Raises
    ------
    TypeError, ValueError
        If a gradient is no array that can be written in place; if `max_norm` is not positive.

    References
    ----------
    .. [1] R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural
       networks", ICML 2013, algorithm 1.
    """
    arrays = _arrays(grads)
    max_norm = _check.real("max_norm", max_norm, 0.0, math.inf, "(0, inf)")
    norm: float = _rnnfast.norm(arrays)
    if max_norm < norm < math.inf:
        _rnnfast.scale(arrays, max_norm / norm)
    return norm


def clip_by_value(grads: Nested, limit: float) -> None:
    """Bring each element of the gradients, in place, to between -limit and limit.

    Parameters
    ----------
    grads : mapping of str to ndarray or RowGradient
        Gradients, nested as for `Optimizer.step`.
    limit : float
        Positive.

    Raises
    ------
    TypeError, ValueError
        If a gradient is no array that can be written in place; if `limit` is not positive.
    """
    arrays = _arrays(grads)
    limit = _check.real("limit", limit, 0.0, math.inf, "(0, inf)")
    for array in arrays:
        np.clip(array, -limit, limit, out=array)


def _arrays(grads: Nested) -> list[Array]:
    """Return what gradients hold, once it has been checked that it can be written."""
    arrays = []
    for name, grad in flatten("grads", grads).items():
        array = grad.values if isinstance(grad, RowGradient) else grad
        label = f"grads[{name!r}]"
        _check.float_array(label, array)
        _check.writeable(label, array)
        _check.in_place(label, array)
        arrays.append(array)
    return arrays

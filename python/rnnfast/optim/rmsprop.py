"""RMSprop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .. import _rnnfast
from .._check import Array
from .base import Nested, Number, Optimizer


class RMSprop(Optimizer):
    """RMSprop [1]_, ``s = alpha s + (1 - alpha) g**2`` and ``p = p - lr * g / (sqrt(s) + eps)``.

    Parameters
    ----------
    params : mapping of str to ndarray
        Parameters, such as a layer's `params`, written in place; nested as for `Optimizer`.
    lr : float
        Learning rate, at least 0.
    alpha : float
        In [0, 1).
    eps : float
        Positive.
    weight_decay : float
        At least 0; times the parameter, it is added to the gradient.
    groups : mapping, optional
        What differs for some parameters, as for `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        As for `Optimizer`.

    References
    ----------
    .. [1] T. Tieleman, G. Hinton, "Neural networks for machine learning", lecture 6.5, 2012.
    """

    alpha = Number(0.0, 1.0, "[0, 1)")
    eps = Number(0.0, math.inf, "(0, inf)")

    def __init__(
        self,
        params: Nested,
        lr: float = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        groups: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(params, lr, weight_decay, groups)
        self.alpha, self.eps = alpha, eps
        self._keep("square_avg")

    def _update(
        self, p: list[Array], g: list[Array], state: list[list[Array]], lr: float, decay: float
    ) -> None:
        (square_avg,) = state
        _rnnfast.rmsprop_step(p, g, square_avg, lr, self.alpha, self.eps, decay)

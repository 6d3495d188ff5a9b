"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import _rnnfast
from .._check import Array
from .base import Nested, Number, Optimizer


class Adam(Optimizer):
    """Adam [1]_.

    ``m = beta1 m + (1 - beta1) g``, ``v = beta2 v + (1 - beta2) g**2`` and, at step k from 1,
    ``p = p - lr * (m / (1 - beta1**k)) / (sqrt(v / (1 - beta2**k)) + eps)``.

    Parameters
    ----------
    params : mapping of str to ndarray
        Parameters, such as a layer's `params`, written in place; nested as for `Optimizer`.
    lr : float
        Learning rate, at least 0.
    beta1, beta2 : float
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

    Notes
    -----
    The rows of a `RowGradient` count the optimiser's steps k, not their own.

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015,
       algorithm 1.
    """

    beta1 = Number(0.0, 1.0, "[0, 1)")
    beta2 = Number(0.0, 1.0, "[0, 1)")
    eps = Number(0.0, math.inf, "(0, inf)")
    _decoupled = False

    def __init__(
        self,
        params: Nested,
        lr: float = 1e-3,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        groups: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(params, lr, weight_decay, groups)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self._keep("m", "v")
        self._state["step"] = np.zeros((), np.int64)

    def step(self, grads: Nested) -> None:
        super().step(grads)
        self._state["step"] += 1

    def _update(
        self, p: list[Array], g: list[Array], state: list[list[Array]], lr: float, decay: float
    ) -> None:
        m, v = state
        k = int(self._state["step"]) + 1
        _rnnfast.adam_step(
            p, g, m, v, k, lr, self.beta1, self.beta2, self.eps, decay, self._decoupled
        )


class AdamW(Adam):
    """Adam with decoupled weight decay [1]_: what `Adam` does, and ``p = p - lr weight_decay p``.

    The decay does not pass through m and v, so that all parameters decay alike.

    Parameters
    ----------
    params : mapping of str to ndarray
        Parameters, such as a layer's `params`, written in place; nested as for `Optimizer`.
    lr : float
        Learning rate, at least 0.
    beta1, beta2 : float
        In [0, 1).
    eps : float
        Positive.
    weight_decay : float
        At least 0; times lr and the parameter, it is taken from the parameter.
    groups : mapping, optional
        What differs for some parameters, as for `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        As for `Optimizer`.

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019,
       algorithm 2; in PyTorch's form, with lr for its product of alpha and the schedule eta.
    """

    _decoupled = True

    def __init__(
        self,
        params: Nested,
        lr: float = 1e-3,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        groups: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            params, lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay, groups=groups
        )

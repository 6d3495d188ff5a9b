"""Gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import _check, _rnnfast
from .._check import Array
from .base import Nested, Optimizer


class SGD(Optimizer):
    """Gradient descent, ``v = momentum * v + g`` and ``p = p - lr * v`` with v = 0 at first [1]_.

    Parameters
    ----------
    params : mapping of str to ndarray
        Parameters, such as a layer's `params`, written in place; nested as for `Optimizer`.
    lr : float
        Learning rate, at least 0.
    momentum : float
        In [0, 1). Setting it to 0 drops v.
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
    .. [1] I. Sutskever et al., "On the importance of initialization and momentum in deep
       learning", ICML 2013; in PyTorch's form, with lr outside v.
    """

    def __init__(
        self,
        params: Nested,
        lr: float = 1e-2,
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        groups: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(params, lr, weight_decay, groups)
        self.momentum = momentum

    @property
    def momentum(self) -> float:
        """Share of v that a step keeps."""
        return self._momentum

    @momentum.setter
    def momentum(self, value: float) -> None:
        self._momentum = _check.real("momentum", value, 0.0, 1.0, "[0, 1)")
        self._keep(*(("velocity",) if self._momentum else ()))

    def _update(
        self, p: list[Array], g: list[Array], state: list[list[Array]], lr: float, decay: float
    ) -> None:
        velocity = state[0] if self.momentum else None
        _rnnfast.sgd_step(p, g, velocity, lr, self.momentum, decay)

"""Optimisers, which write new parameters over the old ones, and gradient clipping."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from . import _check, _rnnfast
from ._check import Array

__all__ = ["SGD", "Adam", "Optimizer", "RMSprop", "clip_by_norm"]


class Optimizer(ABC):
    """What every optimiser shares.

    Parameters
    ----------
    params : mapping of str to ndarray
        Parameters, such as a layer's `params`, written in place.
    lr : float
        Learning rate, positive; may be changed between steps.
    weight_decay : float
        At least 0; times the parameter, it is added to the gradient.
    """

    def __init__(self, params: Mapping[str, Array], lr: float, weight_decay: float) -> None:
        if not isinstance(params, Mapping):
            raise TypeError(f"params is a {type(params).__name__}, expected a mapping of arrays")
        for name, p in params.items():
            _check.float_array(f"params[{name!r}]", p)
        self.params = MappingProxyType(dict(params))
        self.lr = _check.real("lr", lr, 0.0, math.inf, "(0, inf)")
        self.weight_decay = _check.real("weight_decay", weight_decay, 0.0, math.inf, "[0, inf)")
        self._state: dict[str, Array] = {}

    def step(self, grads: Mapping[str, Array]) -> None:
        """Take one step down the gradients.

        Parameters
        ----------
        grads : mapping of str to ndarray
            With exactly the keys, shapes and dtypes of `params`.

        Raises
        ------
        TypeError, ValueError
            If a key, kind, dtype or shape differs, or a parameter is frozen; nothing is changed.
        """
        _check.same_keys("grads", grads, self.params)
        for name, p in self.params.items():
            _check.array(f"grads[{name!r}]", grads[name], p.dtype, p.shape)
            _check.writeable(f"params[{name!r}]", p)
        self._step(list(self.params.values()), [grads[name] for name in self.params])

    @abstractmethod
    def _step(self, params: list[Array], grads: list[Array]) -> None:
        """Take the step, once everything has been checked."""

    @property
    def state(self) -> Mapping[str, Array]:
        """Read-only mapping from name to array of all that a later step depends on."""
        return MappingProxyType(self._state)

    def load(self, state: Mapping[str, Array]) -> None:
        """Copy a `state` that was saved, once everything has been checked.

        Parameters
        ----------
        state : mapping of str to ndarray
            With exactly the keys, shapes and dtypes of `self.state`.

        Raises
        ------
        TypeError, ValueError
            If a key, kind, dtype or shape differs; nothing is changed.
        """
        _check.copy_into("state", self._state, state)

    def _zeros(self, prefix: str) -> list[Array]:
        """Add a state of zeros for each parameter, and return it."""
        zeros = {f"{prefix}.{name}": np.zeros(p.shape, p.dtype) for name, p in self.params.items()}
        self._state |= zeros
        return list(zeros.values())


class SGD(Optimizer):
    """Gradient descent, ``v = momentum * v + g`` and ``p = p - lr * v`` with v = 0 at first [1]_.

    Parameters
    ----------
    params : mapping of str to ndarray
        Parameters, such as a layer's `params`, written in place.
    lr : float
        Learning rate.
    momentum : float
        In [0, 1).
    weight_decay : float
        At least 0; times the parameter, it is added to the gradient.

    References
    ----------
    .. [1] I. Sutskever et al., "On the importance of initialization and momentum in deep
       learning", ICML 2013; in PyTorch's form, with lr outside v.
    """

    def __init__(
        self,
        params: Mapping[str, Array],
        lr: float = 1e-2,
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.momentum = _check.real("momentum", momentum, 0.0, 1.0, "[0, 1)")
        self._velocities = self._zeros("velocity") if self.momentum else None

    def _step(self, params: list[Array], grads: list[Array]) -> None:
        _rnnfast.sgd_step(
            params, grads, self._velocities, self.lr, self.momentum, self.weight_decay
        )


class Adam(Optimizer):
    """Adam [1]_.

    ``m = beta1 m + (1 - beta1) g``, ``v = beta2 v + (1 - beta2) g**2`` and, at step k from 1,
    ``p = p - lr * (m / (1 - beta1**k)) / (sqrt(v / (1 - beta2**k)) + eps)``.

    Parameters
    ----------
    params : mapping of str to ndarray
        Parameters, such as a layer's `params`, written in place.
    lr : float
        Learning rate.
    beta1, beta2 : float
        In [0, 1).
    eps : float
        Positive.
    weight_decay : float
        At least 0; times the parameter, it is added to the gradient.

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015,
       algorithm 1.
    """

    def __init__(
        self,
        params: Mapping[str, Array],
        lr: float = 1e-3,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.beta1 = _check.real("beta1", beta1, 0.0, 1.0, "[0, 1)")
        self.beta2 = _check.real("beta2", beta2, 0.0, 1.0, "[0, 1)")
        self.eps = _check.real("eps", eps, 0.0, math.inf, "(0, inf)")
        self._m, self._v = self._zeros("m"), self._zeros("v")
        self._steps = self._state["step"] = np.zeros((), np.int64)

    def _step(self, params: list[Array], grads: list[Array]) -> None:
        _rnnfast.adam_step(
            params, grads, self._m, self._v, int(self._steps) + 1,
            self.lr, self.beta1, self.beta2, self.eps, self.weight_decay, False,
        )  # fmt: skip
        self._steps += 1


class RMSprop(Optimizer):
    """RMSprop [1]_, ``s = alpha s + (1 - alpha) g**2`` and ``p = p - lr * g / (sqrt(s) + eps)``.

    Parameters
    ----------
    params : mapping of str to ndarray
        Parameters, such as a layer's `params`, written in place.
    lr : float
        Learning rate.
    alpha : float
        In [0, 1).
    eps : float
        Positive.
    weight_decay : float
        At least 0; times the parameter, it is added to the gradient.

    References
    ----------
    .. [1] T. Tieleman, G. Hinton, "Neural networks for machine learning", lecture 6.5, 2012.
    """

    def __init__(
        self,
        params: Mapping[str, Array],
        lr: float = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.alpha = _check.real("alpha", alpha, 0.0, 1.0, "[0, 1)")
        self.eps = _check.real("eps", eps, 0.0, math.inf, "(0, inf)")
        self._square_avg = self._zeros("square_avg")

    def _step(self, params: list[Array], grads: list[Array]) -> None:
        _rnnfast.rmsprop_step(
            params, grads, self._square_avg, self.lr, self.alpha, self.eps, self.weight_decay
        )


def clip_by_norm(grads: Mapping[str, Array], max_norm: float) -> float:
    """Scale all gradients in place so that their common 2-norm is at most `max_norm` [1]_.

    Parameters
    ----------
    grads : mapping of str to ndarray
        Gradients, taken together as one vector.
    max_norm : float
        Positive.

    Returns
    -------
    norm : float
        The norm before. If it is not finite, nothing is scaled.

    References
    ----------
    .. [1] R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural
       networks", ICML 2013, algorithm 1.
    """
    if not isinstance(grads, Mapping):
        raise TypeError(f"grads is a {type(grads).__name__}, expected a mapping of arrays")
    max_norm = _check.real("max_norm", max_norm, 0.0, math.inf, "(0, inf)")
    for name, grad in grads.items():
        _check.float_array(f"grads[{name!r}]", grad)
        _check.writeable(f"grads[{name!r}]", grad)
    arrays = list(grads.values())
    norm: float = _rnnfast.norm(arrays)
    if max_norm < norm < math.inf:
        _rnnfast.scale(arrays, max_norm / norm)
    return norm

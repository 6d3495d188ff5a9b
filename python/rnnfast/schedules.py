"""Learning rates that change: functions from the step, counted from 0, to the learning rate.

For example, cosine decay over 1000 steps with a warm-up of 50::

    schedule = schedules.warmup(schedules.cosine(1e-3, 1000), 50)
    for step in range(1000):
        adam.lr = schedule(step)
        ...

A step can be anything that is counted: a batch, or an epoch. `Plateau` follows the loss instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from . import _check
from ._check import Array
from .params import Params

__all__ = ["Plateau", "constant", "cosine", "step_decay", "warmup"]

Schedule: TypeAlias = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """Return the schedule ``lr(step) = lr``, which `warmup` can begin.

    Parameters
    ----------
    lr : float
        Learning rate, at least 0.

    Returns
    -------
    schedule : callable
        From step to learning rate.

    Raises
    ------
    TypeError, ValueError
        If the learning rate or, in a call of the schedule, the step is not as described.
    """
    lr = _rate("lr", lr)

    def schedule(step: int) -> float:
        _check.integer("step", step, 0)
        return lr

    return schedule


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """Return the schedule ``lr(step) = lr * factor**(step // every)`` [1]_.

    Parameters
    ----------
    lr : float
        First learning rate, at least 0.
    every : int
        Steps between two changes, at least 1.
    factor : float
        In (0, 1].

    Returns
    -------
    schedule : callable
        From step to learning rate.

    Raises
    ------
    TypeError, ValueError
        If an argument or, in a call of the schedule, the step is not as described.

    References
    ----------
    .. [1] K. He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2:
       divided by 10 at fixed steps.
    """
    lr, every = _rate("lr", lr), _check.integer("every", every, 1)
    factor = _check.real("factor", factor, 0.0, 1.0, "(0, 1]")

    def schedule(step: int) -> float:
        return float(lr * factor ** (_check.integer("step", step, 0) // every))

    return schedule


def cosine(lr: float, steps: int, *, end: float = 0.0) -> Schedule:
    """Return half a cosine, ``lr(step) = end + (lr - end) (1 + cos(pi step / steps)) / 2`` [1]_.

    Parameters
    ----------
    lr : float
        First learning rate, at least 0.
    steps : int
        Steps after which the learning rate is `end`, and stays there; at least 1.
    end : float
        Last learning rate, at least 0.

    Returns
    -------
    schedule : callable
        From step to learning rate.

    Raises
    ------
    TypeError, ValueError
        If an argument or, in a call of the schedule, the step is not as described.

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts",
       ICLR 2017, equation 5, without restarts.
    """
    lr, end, steps = _rate("lr", lr), _rate("end", end), _check.integer("steps", steps, 1)

    def schedule(step: int) -> float:
        share = min(_check.integer("step", step, 0) / steps, 1.0)
        return end + (lr - end) * (1 + math.cos(math.pi * share)) / 2

    return schedule


def warmup(schedule: Schedule, steps: int) -> Schedule:
    """Return a schedule that begins small, ``min(1, (step + 1) / steps) * schedule(step)`` [1]_.

    Parameters
    ----------
    schedule : callable
        From step to learning rate, such as the other functions return.
    steps : int
        Steps until the factor is 1; at least 1.

    Returns
    -------
    schedule : callable
        From step to learning rate.

    Raises
    ------
    TypeError, ValueError
        If an argument or, in a call of the schedule, the step is not as described.

    References
    ----------
    .. [1] P. Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017,
       arXiv:1706.02677, section 2.2.
    """
    if not callable(schedule):
        raise TypeError(f"schedule is {schedule!r}, expected a function from step to learning rate")
    steps = _check.integer("steps", steps, 1)

    def warm(step: int) -> float:
        step = _check.integer("step", step, 0)
        return min(1.0, (step + 1) / steps) * schedule(step)

    return warm


class Plateau:
    """A learning rate that falls when a loss no longer does [1]_.

    ``adam.lr = plateau.step(loss)``, once an epoch with the loss of validation: where it has not
    been below the best one by more than `min_delta` for more than `patience` calls in a row, the
    learning rate becomes ``max(factor * lr, min_lr)`` and the count begins again.

    Parameters
    ----------
    lr : float
        First learning rate, at least 0.
    factor : float
        In (0, 1).
    patience : int
        Calls without a better loss that change nothing, at least 0.
    min_delta : float
        By how much a better loss has to be below the best one, at least 0.
    min_lr : float
        Where the learning rate stays, at least 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    .. [1] K. He et al., "Deep residual learning for image recognition", CVPR 2016, section 3.4:
       "divided by 10 when the error plateaus".
    """

    def __init__(
        self,
        lr: float,
        factor: float = 0.1,
        patience: int = 10,
        *,
        min_delta: float = 0.0,
        min_lr: float = 0.0,
    ) -> None:
        self.factor = _check.real("factor", factor, 0.0, 1.0, "(0, 1)")
        self.patience = _check.integer("patience", patience, 0)
        self.min_delta = _check.real("min_delta", min_delta, 0.0, math.inf, "[0, inf)")
        self.min_lr = _rate("min_lr", min_lr)
        self._first = _rate("lr", lr)
        self._state = {
            "lr": np.array(self._first),
            "best": np.array(math.inf),
            "waited": np.array(0, np.int64),
        }

    @property
    def lr(self) -> float:
        """The learning rate now."""
        return float(self._state["lr"])

    def step(self, loss: float) -> float:
        """Take the next loss into account.

        Parameters
        ----------
        loss : float
            What should fall; for an accuracy, give its negative.

        Returns
        -------
        lr : float
            The learning rate from now on.

        Raises
        ------
        TypeError, ValueError
            If the loss is no number, or NaN.
        """
        loss = _check.real("loss", loss, -math.inf, math.inf, "[-inf, inf]")
        state = self._state
        if loss < state["best"] - self.min_delta:
            state["best"][...], state["waited"][...] = loss, 0
        else:
            state["waited"] += 1
        if state["waited"] > self.patience:
            state["lr"][...] = max(self.factor * self.lr, self.min_lr)
            state["waited"][...] = 0
        return self.lr

    @property
    def state(self) -> Params:
        """Mapping from name to array of all that a later call depends on."""
        return Params(self._state)

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

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON can hold them."""
        names = ("factor", "patience", "min_delta", "min_lr")
        return {"lr": self._first} | {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        return f"Plateau({', '.join(f'{k}={v!r}' for k, v in self.config().items())})"


def _rate(name: str, value: Any) -> float:
    return _check.real(name, value, 0.0, math.inf, "[0, inf)")

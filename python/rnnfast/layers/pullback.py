"""The pullback of a layer: from gradients of its results to those of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .. import _check
from .._check import Array
from .state import Spec, check_state, is_zero, specs


class Gradients(NamedTuple):
    """Gradients of a loss, as a `Pullback` returns them.

    Parameters
    ----------
    x : ndarray or None
        By the input, of its shape; None unless `vjp` was called with ``need_x=True``, if it was
        skipped, and for ids.
    state : None, ndarray or tuple
        By the initial state, also where None was given for that.
    params : dict of str to ndarray
        By the parameters, keyed and shaped as the layer's `params`, without those skipped. An
        ``Embedding(sparse=True)`` has a `RowGradient` here.
    """

    x: Array | None
    state: Any
    params: dict[str, Any]


# From dy, dstate, retain and skip to the gradients.
Backward: TypeAlias = "Callable[[Any, Any, bool, frozenset[str]], Gradients]"


class Pullback:
    """Gradients of one call of `Layer.vjp`.

    Holds what the backward pass needs, by reference: inputs and parameters must not change
    before the call. May be called from any thread.
    """

    def __init__(
        self, backward: Backward, y: Array, state: Any, params: Mapping[str, Array], stateful: bool
    ) -> None:
        self._backward: Backward | None = backward
        self._dy, self._dstate = Spec(y.shape, y.dtype), specs(state)
        self._params, self._stateful = params, stateful

    def __call__(
        self,
        dy: Array | None = None,
        dstate: Any = None,
        *,
        retain: bool = False,
        skip: Iterable[str] = (),
    ) -> Gradients:
        """Return the gradients by the input, the initial state and the parameters.

        Parameters
        ----------
        dy : ndarray, shape of y, optional
            Gradient of the loss by the output; None is zero.
        dstate : as the final state, optional
            Gradient of the loss by the final state; it, or any part of it, may be None (zero).
        retain : bool
            Keep the memory, so that the pullback can be called again.
        skip : iterable of str
            Gradients to leave out: ``"x"``, or names of parameters.

        Returns
        -------
        gradients : Gradients
            The named tuple ``(x, state, params)``.

        Raises
        ------
        RuntimeError
            On a second call, unless ``retain=True`` was given each time before.
        TypeError, ValueError
            If `dy`, `dstate`, `retain` or `skip` does not fit, or `dy` and `dstate` are None;
            the pullback can then be called again.
        """
        retain = _check.boolean("retain", retain)
        skipped = self._check_skip(skip)
        if dy is not None:
            _check.array("dy", dy, self._dy.dtype, self._dy.shape)
        check_state("dstate", dstate, self._dstate)
        if dy is None and is_zero(dstate):
            raise ValueError(
                "dy and dstate are None, expected one of them at least: all gradients would be"
                " zero. Where dy is the x of another pullback, its vjp lacked need_x=True"
            )
        return self._run(dy, dstate, retain, skipped)

    def _run(self, dy: Array | None, dstate: Any, retain: bool, skip: frozenset[str]) -> Gradients:
        """Do what a call does with arguments that were checked; all of them may be zero."""
        backward = self._backward
        if backward is None:
            raise RuntimeError(
                "pullback was already called without retain=True, which frees what it holds"
            )
        if dy is None and not self._stateful:
            dy = np.zeros(self._dy.shape, self._dy.dtype)
        gradients = backward(dy, dstate, retain, skip)
        if not retain:
            self._backward = None
        return gradients

    def _check_skip(self, skip: Iterable[str]) -> frozenset[str]:
        if skip == ():
            return frozenset()
        if not isinstance(skip, Iterable):
            raise TypeError(f"skip is a {type(skip).__name__}, expected names of gradients")
        skipped = frozenset((skip,)) if isinstance(skip, str) else frozenset(skip)
        if unknown := skipped - self._params.keys() - {"x"}:
            expected = f"'x' or any of {list(self._params)}"
            raise ValueError(f"skip contains {sorted(map(str, unknown))}, expected {expected}")
        return skipped

"""What every optimiser shares: names, checks, groups, rows of tables, state and copies."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeAlias, overload

import numpy as np

from .. import _check
from .._check import Array
from ..params import Params
from ..row_gradient import RowGradient
from .names import Group, check_parameters, flatten, split

# Arrays by name; a value may itself be such a mapping, which adds its name and a dot.
Nested: TypeAlias = Mapping[str, Any]


class Number:
    """A number of an optimiser, an attribute that is checked whenever it is set."""

    def __init__(self, low: float, high: float, interval: str) -> None:
        self._bounds = (low, high, interval)

    def __set_name__(self, owner: type[Optimizer], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, optimizer: None, owner: type[Optimizer]) -> Number: ...

    @overload
    def __get__(self, optimizer: Optimizer, owner: type[Optimizer]) -> float: ...

    def __get__(self, optimizer: Optimizer | None, owner: type[Optimizer]) -> Number | float:
        if optimizer is None:
            return self
        number: float = optimizer.__dict__[self._name]
        return number

    def __set__(self, optimizer: Optimizer, value: Any) -> None:
        optimizer.__dict__[self._name] = _check.real(self._name, value, *self._bounds)


class Optimizer(ABC):
    """What every optimiser shares; a subclass has `_update`, and a constructor with its numbers.

    Parameters
    ----------
    params : mapping of str to ndarray
        Parameters, such as a layer's `params`, written in place. A value may be a mapping of
        its own: ``{"enc": enc.params, "dec": dec.params}`` has the names ``"enc.weight_ih_l0"``
        and so on.
    lr : float
        Learning rate, at least 0; may be changed between steps, as may the other numbers.
    weight_decay : float
        At least 0; times the parameter, it is added to the gradient.
    groups : mapping, optional
        From a pattern over names, as the module fnmatch has them, to what differs for the
        parameters it matches: ``lr_scale``, at least 0, times the learning rate, and
        ``weight_decay``, instead of the optimiser's. The first pattern that matches counts. For
        example ``{"emb.*": {"lr_scale": 0.1}, "*bias*": {"weight_decay": 0.0}}``.

    Attributes
    ----------
    params : Params
        The parameters by name.
    groups : dict
        As given.

    Raises
    ------
    TypeError
        If a parameter is no array of float32 or float64, or an argument has the wrong kind.
    ValueError
        If two parameters have one name or share memory, one is not contiguous, a number is out
        of its range, or a pattern matches nothing.

    Notes
    -----
    A step reads only the rows of a table that its `RowGradient` has, and writes only these,
    with their state: its time does not grow with the table. The other rows then keep their
    parameters and state, where an array of zeros would decay them and move them on by their
    momentum.

    The modules copy and pickle work. `copy.copy` has a state of its own and steps the same
    parameters; `copy.deepcopy` and pickle copy the parameters too, unless they are given the
    model together with the optimiser: ``deepcopy((model, adam))`` stay connected.
    """

    lr = Number(0.0, math.inf, "[0, inf)")
    weight_decay = Number(0.0, math.inf, "[0, inf)")

    def __init__(
        self, params: Nested, lr: float, weight_decay: float, groups: Mapping[str, Any] | None
    ) -> None:
        arrays = flatten("params", params)
        check_parameters(arrays)
        self.params = Params(arrays)
        self.lr, self.weight_decay = lr, weight_decay
        self._groups = split(list(arrays), {} if groups is None else groups)
        self.groups = {pattern: dict(options) for pattern, options in (groups or {}).items()}
        self._slots: tuple[str, ...] = ()
        self._state: dict[str, Array] = {}

    @abstractmethod
    def _update(
        self, p: list[Array], g: list[Array], state: list[list[Array]], lr: float, decay: float
    ) -> None:
        """Write new values over the parameters p and their state.

        For each name that was given to `_keep`, `state` has a list of arrays. The lists are of
        equal length, their entries C-contiguous and of equal shape and dtype. Called once for
        each group of parameters, with its learning rate and weight decay.
        """

    def _keep(self, *slots: str) -> None:
        """Have, under each of these names, one array a parameter as state, zero at first."""
        self._slots = slots
        keys = {f"{slot}.{name}": p for slot in slots for name, p in self.params.items()}
        old = self._state
        self._state = {
            key: old[key] if key in old else np.zeros(p.shape, p.dtype) for key, p in keys.items()
        }

    def step(self, grads: Nested) -> None:
        """Take one step down the gradients.

        Parameters
        ----------
        grads : mapping of str to ndarray or RowGradient
            With exactly the keys, shapes and dtypes of `params`, nested or not.

        Raises
        ------
        TypeError, ValueError
            If a key, kind, dtype or shape differs, or a parameter is frozen; nothing is changed.
        """
        flat, params = flatten("grads", grads), self.params._arrays
        if flat.keys() != params.keys():
            _check.same_keys("grads", flat, params)
        for name, p in params.items():
            _check_gradient(name, flat[name], p)
            if not p.flags.writeable:
                _check.writeable(f"params[{name!r}]", p)
        for group in self._groups:
            self._step_group(group, flat)

    def _step_group(self, group: Group, grads: Mapping[str, Any]) -> None:
        names, params, state = group.names, self.params._arrays, self._state
        g = [grads[name] for name in names]
        p = [params[name] for name in names]
        slots = [[state[f"{slot}.{name}"] for name in names] for slot in self._slots]
        rows: list[tuple[Array, Array, Array]] = []  # of a table: which, all of it, their copy
        for i, gradient in enumerate(g):
            if isinstance(gradient, RowGradient):
                g[i] = gradient.values
                for column in (p, *slots):
                    rows.append((gradient.rows, column[i], column[i][gradient.rows]))
                    column[i] = rows[-1][2]
        decay = self.weight_decay if group.weight_decay is None else group.weight_decay
        self._update(p, g, slots, self.lr * group.lr_scale, decay)
        for where, array, picked in rows:
            array[where] = picked

    @property
    def state(self) -> Params:
        """Mapping from name to array of all that a later step depends on, beside the numbers."""
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
        """Return the constructor's arguments, without `params`, as JSON can hold them."""
        from inspect import signature  # slow to import, and needed for repr and config only

        names = signature(type(self)).parameters
        return {name: getattr(self, name) for name in names if name != "params"}

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self.config().items())
        return f"{type(self).__name__}({len(self.params)} parameters, {', '.join(shown)})"

    def __copy__(self) -> Optimizer:
        twin = object.__new__(type(self))
        state = {key: value.copy() for key, value in self._state.items()}
        twin.__dict__.update(self.__dict__ | {"_state": state})
        return twin


def _check_gradient(name: str, g: Any, p: Array) -> None:
    """Require that g is a gradient of the parameter p."""
    if isinstance(g, np.ndarray) and g.dtype == p.dtype and g.shape == p.shape:
        return  # before a text is made for each
    if not isinstance(g, RowGradient):
        _check.array(f"grads[{name!r}]", g, p.dtype, p.shape)
        return
    _check.array(f"grads[{name!r}]", g.values, p.dtype, None)
    if g.shape != p.shape:
        raise ValueError(f"grads[{name!r}] has shape {g.shape}, expected {p.shape}")

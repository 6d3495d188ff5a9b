"""What every layer and container shares: parameters, freezing, copies, text; calls and vjp."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np

from .. import _check
from .._check import RNG, Array, Lengths
from ..params import Params
from .pullback import Backward, Pullback
from .stream import Stream


class Module:
    """Something with parameters: a layer, a chain or a group of them.

    Each argument of the constructor, except `rng`, is an attribute of the same name. Copies, of
    the modules copy and pickle, have parameters of their own, and are frozen if the original is.
    """

    _params: Params = Params({})
    _frozen: bool = False

    @property
    def params(self) -> Params:
        """Read-only mapping from name to parameter; its arrays are written in place.

        A constructor assigns it, once.
        """
        return self._params

    @params.setter
    def params(self, arrays: Mapping[str, Array]) -> None:
        if "_params" in self.__dict__:
            raise AttributeError("params cannot be replaced: load(params), or write in place")
        self._params = Params(arrays)

    @property
    def num_parameters(self) -> int:
        """Number of trainable scalars; those of a layer that stands twice count once."""
        return sum(p.size for p in {id(p): p for p in self.params.values()}.values())

    def load(self, params: Mapping[str, Array]) -> None:
        """Copy `params` into the parameters, once everything has been checked.

        Parameters
        ----------
        params : mapping of str to ndarray
            With exactly the keys, shapes and dtypes of `self.params`.

        Raises
        ------
        TypeError, ValueError
            If a key, kind, dtype or shape differs, or a layer is frozen; nothing is changed.
        """
        _check.copy_into("params", self.params, params)

    def freeze(self) -> None:
        """Declare the parameters unchanging: make them read-only, and pack them once.

        Views of them made before stay writeable; writing through one goes unnoticed.
        """
        for p in self.params.values():
            p.flags.writeable = False
        self._frozen = True

    def unfreeze(self) -> None:
        """Undo `freeze`."""
        for p in self.params.values():
            p.flags.writeable = True
        self._frozen = False

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, without `rng`, as JSON can hold them.

        Raises
        ------
        AttributeError
            If an argument of a subclass's constructor is no attribute: override `config`.
        """
        names = [name for name in _signature(self) if name != "rng"]
        values = {name: getattr(self, name) for name in names}
        return {k: v.name if isinstance(v, np.dtype) else v for k, v in values.items()}

    def __repr__(self) -> str:
        parameters, shown = _signature(self), []
        try:
            config = self.config()
            for name, value in config.items():
                default = parameters[name].default
                if default is parameters[name].empty:
                    shown.append(repr(value))
                elif value != default:
                    shown.append(f"{name}={value!r}")
        except Exception:  # a subclass may have a constructor of any kind
            return f"<{type(self).__name__}>"
        return f"{type(self).__name__}({', '.join(shown)})"

    def __copy__(self) -> Any:
        return deepcopy(self)  # with shared arrays, one could be frozen and the other written

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._frozen:
            self.freeze()


def _signature(module: Module) -> Mapping[str, Any]:
    from inspect import signature  # slow to import, and needed for repr and config only

    return signature(type(module)).parameters


class Call(NamedTuple):
    """The arguments of a call of a layer, as `Layer.forward` and `forward_vjp` take them.

    Parameters
    ----------
    x, state, lengths, return_sequence
        As for `Layer.__call__`; of the last, the kind is checked.
    rng, checkpoint, need_x
        As for `Layer.vjp`.
    """

    x: Any
    state: Any = None
    lengths: Lengths | None = None
    return_sequence: bool = True
    rng: RNG = None
    checkpoint: bool = False
    need_x: bool = False


class Layer(Module, ABC):
    """The protocol of all layers: a function of its input, its state and its parameters.

    A layer keeps nothing from one call to the next, so threads can share it.

    Attributes
    ----------
    dtype : numpy.dtype or None
        float32 or float64, of x and the parameters; None where either will do.
    batch_first : bool or None
        Order of the axes, (B, T, I) or (T, B, I); None where either will do.
    input_size, output_size : int or None
        Features in and out; None where any number will do, and the output has as many.
    stateful : bool
        The layer has a state; then `dy` of its backward can be None, which is zero.
    ends_sequence : bool
        y has no axis of time, as that of a pooling layer: those after it get no `lengths`.
    takes_ids : bool
        x is integers, without an axis of features.

    Notes
    -----
    A layer of one's own is a subclass with `forward` and `forward_vjp`. It works in a
    `Sequential`. For example, the mean of each sequence over its steps, (T, B, I) to (B, I)::

        class Mean(Layer):
            ends_sequence = True

            def forward(self, call):
                y, state, _ = self.forward_vjp(call)
                return y, state

            def forward_vjp(self, call):
                T, B, _ = call.x.shape
                n = np.full(B, T) if call.lengths is None else np.asarray(call.lengths)
                inside = (np.arange(T)[:, None] < n)[:, :, None]  # (T, B, 1)
                n = np.maximum(n, 1)[:, None].astype(call.x.dtype)  # (B, 1)
                y = np.where(inside, call.x, 0).sum(axis=0) / n

                def backward(dy, dstate, retain, skip):
                    return Gradients(np.where(inside, dy / n, 0), None, {})

                return y, None, backward

    With parameters, the constructor sets ``self.params = {"weight": ...}`` and `dtype`, and
    `backward` returns their gradients by name, without those in `skip`. Of the attributes
    above, a layer sets those that differ.
    """

    dtype: np.dtype[Any] | None = None
    batch_first: bool | None = None
    input_size: int | None = None
    output_size: int | None = None
    stateful: bool = False
    ends_sequence: bool = False
    takes_ids: bool = False

    @abstractmethod
    def forward(self, call: Call) -> tuple[Array, Any]:
        """Return the outputs and the final state.

        Parameters
        ----------
        call : Call
            The arguments ``x, state, lengths, return_sequence``, to be checked here.

        Returns
        -------
        y : ndarray
            As `__call__` describes.
        state : None, ndarray or tuple
            The final state.
        """

    @abstractmethod
    def forward_vjp(self, call: Call) -> tuple[Array, Any, Backward]:
        """Return what `forward` does, with ``call.rng`` for what is random, and the backward pass.

        Parameters
        ----------
        call : Call
            The arguments of `vjp`.

        Returns
        -------
        y, state
            As for `forward`.
        backward : callable
            ``backward(dy, dstate, retain, skip)`` returns `Gradients`; `dy` and `dstate` have
            been checked. The gradient by x is needed only if ``call.need_x`` and not ``"x" in
            skip``. With `retain` it will be called again.
        """

    def stream(self, batch: int = 1) -> Stream:
        """Return a snapshot of the layer that takes one step at a time.

        Parameters
        ----------
        batch : int
            Sequences that are stepped together.

        Raises
        ------
        TypeError, ValueError
            If `batch` is no integer, or below 1. If the layer has no stream: one of both
            directions, whose second starts at the end, or one of your own without this method.
        """
        raise ValueError(f"{self!r} has no stream")

    def __call__(
        self,
        x: Array,
        state: Any = None,
        lengths: Lengths | None = None,
        *,
        return_sequence: bool = True,
    ) -> tuple[Array, Any]:
        """Return the outputs and the final state, and keep nothing else.

        Parameters
        ----------
        x : ndarray
            (T, B, I); (B, T, I) with `batch_first`; or (T, I), one sequence without a batch
            axis, which its states then do not have either.
        state : as the returned state, optional
            Initial state; it, or any part of it, may be None (zero).
        lengths : integers (B,), optional
            Where each sequence ends, 0 to T; not allowed for an `x` without a batch axis.
        return_sequence : bool
            False returns only the output at the end of each sequence.

        Returns
        -------
        y : ndarray
            As `x`, with the layer's outputs as the last axis; 0 past a sequence's length.
            Without the axis of time if not `return_sequence`.
        state : None, ndarray or tuple
            The state at each sequence's end.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong kind or dtype; the wrong shape or value.
        """
        return self.forward(
            Call(x, state, lengths, _check.boolean("return_sequence", return_sequence))
        )

    def vjp(
        self,
        x: Array,
        state: Any = None,
        lengths: Lengths | None = None,
        *,
        rng: RNG = None,
        checkpoint: bool = False,
        return_sequence: bool = True,
        need_x: bool = False,
    ) -> tuple[Array, Any, Pullback]:
        """Return what a call returns and the pullback that gives its gradients.

        Parameters
        ----------
        x, state, lengths, return_sequence
            As for a call.
        rng : None, int, sequence of int, SeedSequence, BitGenerator or Generator
            Source of the dropout masks, for `numpy.random.default_rng`; None draws a fresh seed.
            An int gives the same masks in every call: in a loop, make one Generator outside it.
        checkpoint : bool
            Keep states only and compute the gates again in the backward pass: extra memory
            then grows as sqrt(T).
        need_x : bool
            Have the pullback compute the gradient by x too.

        Returns
        -------
        y, state
            As for a call, with dropout applied. What the pullback reads of them is read-only.
        pullback : Pullback
            ``pullback(dy, dstate)`` returns the `Gradients` ``(x, state, params)``.

        Raises
        ------
        TypeError, ValueError
            As for a call.

        Examples
        --------
        ::

            rng = np.random.default_rng(0)
            for x, target in batches:
                y, state, pullback = model.vjp(x, rng=rng)
                loss, dy = losses.mse(y, target)
                adam.step(pullback(dy).params)
        """
        return self._pull(
            Call(
                x,
                state,
                lengths,
                _check.boolean("return_sequence", return_sequence),
                rng,
                _check.boolean("checkpoint", checkpoint),
                _check.boolean("need_x", need_x),
            )
        )

    def _pull(self, call: Call) -> tuple[Array, Any, Pullback]:
        """Return what `vjp` does, for arguments as a `Call`: a container's way to its layers."""
        y, state, backward = self.forward_vjp(call)
        return y, state, Pullback(backward, y, state, self.params, self.stateful)

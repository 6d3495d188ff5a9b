"""What every layer shares: the protocol, the parameters, freezing, copying and the pullback."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import numpy as np

from .. import _check
from .._check import RNG, Array, Lengths
from ..params import Params
from ..ragged import Mask, step_mask

if TYPE_CHECKING:
    from .stream import Stream

S = TypeVar("S")  # the final state: None, an array, or a tuple of these

Gradients: TypeAlias = tuple[Array | None, Any, dict[str, Array]]  # dx, dstate, grads
Backward: TypeAlias = Callable[[Array | None, Any, bool, frozenset[str]], Gradients]


class Spec:
    """The shape and dtype that an array of a state must have."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype


def check_parts(name: str, value: Any, parts: int) -> None:
    """Require that the state `value` is a tuple of this many parts."""
    if not isinstance(value, tuple | list):
        raise TypeError(f"{name} is a {type(value).__name__}, expected a tuple of {parts}")
    if len(value) != parts:
        raise ValueError(f"{name} has {len(value)} parts, expected {parts}")


def check_state(name: str, value: Any, like: Any) -> None:
    """Require that the tree `value` is None or has the structure, shapes and dtypes of `like`.

    A leaf of `like` is None or anything with a shape and a dtype; any part of `value` may be
    None, which stands for zeros.
    """
    if value is None:
        return
    if like is None:
        raise TypeError(f"{name} is a {type(value).__name__}, expected None: there is no state")
    if not isinstance(like, tuple):
        _check.array(name, value, like.dtype, like.shape)
        return
    check_parts(name, value, len(like))
    for i, (part, part_like) in enumerate(zip(value, like, strict=True)):
        check_state(f"{name}[{i}]", part, part_like)


class Pullback:
    """Gradients of one call of `Layer.vjp`.

    Holds what the backward pass needs, by reference: inputs and parameters must not change
    before the call. May be called from any thread.
    """

    def __init__(self, layer: Layer[Any], backward: Backward, y: Array, state: Any) -> None:
        self._backward: Backward | None = backward
        self._dy = Spec(y.shape, layer.dtype)
        self._dstate = state
        self._names = frozenset(layer.params)

    def __call__(
        self,
        dy: Array | None = None,
        dstate: Any = None,
        *,
        retain: bool = False,
        skip: Iterable[str] = (),
    ) -> Gradients:
        """Return dx, dstate and the gradients of the parameters.

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
        dx : ndarray, shape of x, or None
            None if skipped, and for an `Embedding`.
        dstate : as the initial state
            Gradient by the initial state, also where None was given for it.
        grads : dict of str to ndarray
            Keyed and shaped as the layer's `params`, without those skipped.

        Raises
        ------
        RuntimeError
            On a second call, unless ``retain=True`` was given each time before.
        TypeError, ValueError
            If `dy`, `dstate` or `skip` does not fit; the pullback can then be called again.
        """
        backward = self._backward
        if backward is None:
            raise RuntimeError(
                "pullback was already called without retain=True, which frees what it holds"
            )
        skipped = frozenset((skip,)) if isinstance(skip, str) else frozenset(skip)
        if unknown := skipped - self._names - {"x"}:
            raise ValueError(
                f"skip contains {sorted(unknown)}, expected 'x' or any of {sorted(self._names)}"
            )
        if dy is not None:
            _check.array("dy", dy, self._dy.dtype, self._dy.shape)
        check_state("dstate", dstate, self._dstate)
        gradients = backward(dy, dstate, retain, skipped)
        if not retain:
            self._backward = None
        return gradients


class Layer(ABC, Generic[S]):
    """The protocol of all layers: a function of its input, its state and its parameters.

    A layer keeps nothing from one call to the next, so threads can share it. Each argument of
    the constructor, except `rng`, is an attribute of the same name.
    """

    dtype: np.dtype[Any]
    batch_first: bool
    input_size: int | None = None  # features in and out; None where any number will do
    output_size: int | None = None
    stateful: bool = False
    takes_ids: bool = False  # x is integers, without an axis of features
    _params: dict[str, Array]
    _frozen: bool = False

    @abstractmethod
    def _run(
        self, x: Array, state: Any, lengths: Lengths | None, return_sequence: bool
    ) -> tuple[Array, S]:
        """Do what `__call__` promises."""

    @abstractmethod
    def _run_vjp(
        self,
        x: Array,
        state: Any,
        lengths: Lengths | None,
        return_sequence: bool,
        rng: RNG,
        checkpoint: bool,
    ) -> tuple[Array, S, Backward]:
        """Do what `vjp` promises, with the bare function that `Pullback` wraps."""

    @abstractmethod
    def stream(self, batch: int = 1) -> Stream[S]:
        """Return a snapshot of the layer that takes one step at a time.

        Parameters
        ----------
        batch : int
            Sequences that are stepped together.

        Raises
        ------
        ValueError
            If the layer is bidirectional: its second direction starts at the end.
        """

    def __call__(
        self,
        x: Array,
        state: Any = None,
        lengths: Lengths | None = None,
        *,
        return_sequence: bool = True,
    ) -> tuple[Array, S]:
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
        return self._run(x, state, lengths, return_sequence)

    def vjp(
        self,
        x: Array,
        state: Any = None,
        lengths: Lengths | None = None,
        *,
        rng: RNG = None,
        checkpoint: bool = False,
        return_sequence: bool = True,
    ) -> tuple[Array, S, Pullback]:
        """Return what a call returns and the pullback that gives its gradients.

        Parameters
        ----------
        x, state, lengths, return_sequence
            As for a call.
        rng : None, int or numpy.random.Generator
            Source of the dropout masks; None draws a fresh seed.
        checkpoint : bool
            Keep states only and compute the gates again in the backward pass: extra memory
            then grows as sqrt(T).

        Returns
        -------
        y, state
            As for a call, with dropout applied.
        pullback : Pullback
            ``dx, dstate, grads = pullback(dy, dstate)``.
        """
        y, final, backward = self._run_vjp(x, state, lengths, return_sequence, rng, checkpoint)
        return y, final, Pullback(self, backward, y, final)

    @property
    def params(self) -> Params:
        """Read-only mapping from name to parameter; its arrays are written in place."""
        return Params(self._params)

    @property
    def num_parameters(self) -> int:
        """Number of trainable scalars."""
        return sum(p.size for p in self.params.values())

    def load(self, params: Mapping[str, Array]) -> None:
        """Copy `params` into the layer, once everything has been checked.

        Parameters
        ----------
        params : mapping of str to ndarray
            With exactly the keys, shapes and dtype of `self.params`.

        Raises
        ------
        TypeError, ValueError
            If a key, kind, dtype or shape differs, or the layer is frozen; nothing is changed.
        """
        _check.copy_into("params", self.params, params)

    def freeze(self) -> None:
        """Declare the parameters unchanging: pack them once and make them read-only."""
        for p in self._params.values():
            p.flags.writeable = False
        self._frozen = True

    def unfreeze(self) -> None:
        """Undo `freeze`."""
        for p in self._params.values():
            p.flags.writeable = True
        self._frozen = False

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, without `rng`, as JSON can hold them."""
        names = [name for name in _signature(self) if name != "rng"]
        values = {name: getattr(self, name) for name in names}
        return {k: v.name if isinstance(v, np.dtype) else v for k, v in values.items()}

    def __repr__(self) -> str:
        parameters, shown = _signature(self), []
        for name, value in self.config().items():
            default = parameters[name].default
            if default is parameters[name].empty:
                shown.append(repr(value))
            elif value != default:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # A read-only array can come out of a pickle over memory that can never be written.
        self._params = {k: p if p.flags.writeable else p.copy() for k, p in self._params.items()}
        if self._frozen:
            self.freeze()


def _signature(layer: Layer[Any]) -> Mapping[str, Any]:
    from inspect import signature  # slow to import, and needed for repr and config only

    return signature(type(layer)).parameters


class Stateless(Layer[None]):
    """A layer whose output at a step depends on that step's input only."""

    def stream(self, batch: int = 1) -> Stream[None]:
        from .stream import StatelessStream

        return StatelessStream(self)

    def _check_call(self, state: Any, return_sequence: bool) -> None:
        check_state("state", state, None)
        if not return_sequence:
            raise ValueError(
                "return_sequence is False, expected True:"
                f" {type(self).__name__} has no state at the end of a sequence"
            )

    def _rows(self, leading: tuple[int, ...], lengths: Lengths | None) -> Mask | None:
        """Return the mask of the steps of x, whose leading axes these are, that count."""
        return None if lengths is None else step_mask(lengths, leading, self.batch_first)

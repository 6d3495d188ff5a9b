"""Modules that are made of named modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .. import _check
from ..params import Params
from .base import Module


class Container(Module):
    """What `Sequential` and `Group` share: children with names.

    ``model["rnn"]`` and ``model[0]`` are a child, ``len(model)`` is their number, and iteration
    gives them in order. Parameters are named ``<child>.<name>``. A child that stands twice has
    its parameters and gradients under both names; an optimiser refuses these, as two names for
    one memory.
    """

    def _adopt(self, children: Mapping[str, Module], kind: type[Module]) -> None:
        for name, child in children.items():
            if not name or "." in name:
                raise ValueError(f"{name!r} is no name of a child, expected one without a dot")
            if not isinstance(child, kind):
                raise TypeError(
                    f"{label(name)} is a {type(child).__name__}, expected a {kind.__name__}"
                )
        self._children = dict(children)
        self._find_params()

    def _find_params(self) -> None:
        self._params = Params(
            {f"{n}.{k}": p for n, child in self._children.items() for k, p in child.params.items()}
        )

    @property
    def children(self) -> dict[str, Any]:
        """The children by name."""
        return dict(self._children)

    def __getitem__(self, key: str | int) -> Any:
        """Return the child of this name, or of this index.

        Raises
        ------
        KeyError, IndexError, TypeError
            If there is no such name; no such index; if `key` is neither.
        """
        if isinstance(key, str):
            if key not in self._children:
                raise KeyError(f"key is {key!r}, expected one of {', '.join(self._children)}")
            return self._children[key]
        index = _check.integer("key", key, -len(self))
        if index >= len(self):
            raise IndexError(f"key is {index}, expected an index below {len(self)}")
        return list(self._children.values())[index]

    def __len__(self) -> int:
        return len(self._children)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._children.values())

    def freeze(self) -> None:
        """Freeze every child."""
        for child in self:
            child.freeze()

    def unfreeze(self) -> None:
        """Unfreeze every child."""
        for child in self:
            child.unfreeze()

    def config(self) -> dict[str, Any]:
        """Return the children by name, so that ``type(model)(**model.config())`` is its like.

        The children are the same, not copies; those without names of their own are called
        ``"0"``, ``"1"`` and so on.
        """
        return self.children

    def __repr__(self) -> str:
        shown = [repr(c) if n.isdigit() else f"{n}={c!r}" for n, c in self._children.items()]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k != "_params"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._find_params()  # the children's own, not copies


class Group(Container):
    """Modules with names, for a model that is no chain: an encoder and a decoder, for example.

    It has no call of its own; call its children, and give their gradients to an optimiser as
    ``{"enc": grads_enc, "dec": grads_dec}``.

    Parameters
    ----------
    **children : Module
        Layers, chains or groups, by name.

    Raises
    ------
    TypeError, ValueError
        If a child is no Module; if there is none, or a name has a dot.

    Examples
    --------
    ::

        model = Group(enc=GRU(2, 32), dec=Sequential(rnn=GRU(2, 32), out=Dense(32, 2)))
        _, state, pull_enc = model["enc"].vjp(x)
        y, _, pull_dec = model["dec"].vjp(x_dec, (state, None))
        loss, dy = losses.mse(y, target)
        dec = pull_dec(dy)
        enc = pull_enc(dstate=dec.state[0])
        adam.step({"enc": enc.params, "dec": dec.params})
    """

    def __init__(self, **children: Module) -> None:
        if not children:
            raise ValueError("children is empty, expected at least one Module by name")
        self._adopt(children, Module)


def label(name: str) -> str:
    """Return what an error calls the child of this name."""
    return f"layers[{name}]" if name.isdigit() else name

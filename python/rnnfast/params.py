"""Parameters by name: a mapping whose arrays are written in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, NoReturn
from weakref import WeakValueDictionary

from ._check import Array

__all__ = ["Params"]


class Params(Mapping[str, Array]):
    """Read-only mapping from name to array; the arrays are live, and written in place.

    ``params["w"][...] = value`` and ``params["w"] *= 2`` write; ``params["w"] = value`` is a
    TypeError. Copies of every kind, `copy`, those of the modules copy and pickle, have arrays of
    their own::

        best = model.params.copy()  # a snapshot
        model.load(best)            # and back

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Arrays by name, which are not copied.

    Raises
    ------
    TypeError
        If `arrays` is no mapping; if an entry is assigned or deleted.
    """

    __slots__ = ("_arrays",)

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        if not isinstance(arrays, Mapping):
            raise TypeError(f"arrays is a {type(arrays).__name__}, expected a mapping of arrays")
        self._arrays = dict(arrays)

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __setitem__(self, name: str, value: Any) -> None:
        if value is self._arrays.get(name):  # what params["w"] *= 2 ends in
            return
        raise TypeError(f"params[{name!r}] = value is not possible: params[{name!r}][...] = value")

    def __delitem__(self, name: str) -> NoReturn:
        raise TypeError(f"params[{name!r}] cannot be deleted, expected only writing in place")

    def copy(self) -> Params:
        """Return the names with copies of the arrays, all of them writeable."""
        return Params({name: p.copy() for name, p in self._arrays.items()})

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Params:
        return Params(deepcopy(self._arrays, memo))  # an array that others refer to stays one

    def __reduce__(self) -> tuple[type[Params], tuple[dict[str, Array]]]:
        return Params, ({name: _to_pickle(p) for name, p in self._arrays.items()},)

    def __repr__(self) -> str:
        shown = (f"{name!r}: {p.dtype} {p.shape}" for name, p in self._arrays.items())
        return f"Params({{{', '.join(shown)}}})"


# Copies that a pickle in the making holds, by the id of their array.
_copies: WeakValueDictionary[int, Array] = WeakValueDictionary()


def _to_pickle(p: Array) -> Array:
    """Return p, or a writeable copy: read-only arrays are read-only for ever after a pickle.

    A model and its optimiser, pickled together, get one copy, so that they stay connected.
    """
    if p.flags.writeable:
        return p
    copy = _copies.get(id(p))
    if copy is None:
        copy = _copies[id(p)] = p.copy()
    return copy

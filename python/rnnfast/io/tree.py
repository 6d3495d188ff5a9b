"""Objects as JSON and arrays, and back.

The header has two parts. ``"modules"`` lists every module after those it is made of, each with
its class, its constructor's arguments and the arrays of its parameters; a module that stands in
several places is listed once, and so is one again when it is read. ``"what"`` is the object that
was saved. Numbers, strings, booleans, None and lists stand for themselves; all else is an object
whose ``"kind"`` says what it is. The arrays are the file's own, here by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from .. import _check, layers, optim, schedules
from .._check import Array
from ..layers.base import Module
from ..optim import Optimizer
from ..schedules import Plateau

_BUILT_IN: tuple[type[Any], ...] = (
    layers.RNN, layers.LSTM, layers.GRU, layers.Recurrent, layers.Dense, layers.Embedding,
    layers.Dropout, layers.Sequential, layers.Group,
    optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, schedules.Plateau,
)  # fmt: skip
_CLASSES = {cls.__name__: cls for cls in _BUILT_IN}

C = TypeVar("C", bound="type[Module] | type[Optimizer]")


def register(kind: C) -> C:
    """Let `save` and `load` know a class of one's own; a decorator.

    Parameters
    ----------
    kind : type
        Subclass of `layers.Module` (such as `layers.Layer`) or `optim.Optimizer`. `load` finds
        it by its name, and calls it with what its `config` returned: by default, of each of the
        constructor's arguments, except `rng`, the attribute of that name.

    Returns
    -------
    kind : type
        The same.

    Raises
    ------
    TypeError
        If `kind` is no such class.
    ValueError
        If another class of this name is registered.

    Examples
    --------
    ::

        @rnnfast.io.register
        class Scale(rnnfast.layers.Layer):
            def __init__(self, size):
                self.size = size
                self.params = {"scale": np.ones(size, np.float32)}
            ...

        rnnfast.io.save("model.npz", rnnfast.Sequential(rnnfast.GRU(2, 8), Scale(8)))
    """
    if not (isinstance(kind, type) and issubclass(kind, Module | Optimizer)):
        raise TypeError(f"kind is {kind!r}, expected a subclass of Module or Optimizer")
    known = _CLASSES.get(kind.__name__, kind)
    # A class that is defined again, as in a notebook, takes the place of the old one.
    if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        raise ValueError(f"kind is {kind!r}, expected another name: {known!r} has it already")
    _CLASSES[kind.__name__] = kind
    return kind


class Writer:
    """Turns objects into JSON, and collects their arrays by the names they get in the file."""

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self._modules: list[dict[str, Any]] = []
        self._numbers: dict[int, int] = {}  # of the modules in that list, by id
        self._places: dict[Any, tuple[int, str]] = {}  # module and name of each parameter
        self._optimizers: list[tuple[str, Optimizer, dict[str, Any]]] = []
        self._keep: list[Any] = []  # what an id stands for must live on

    def finish(self, value: Any, label: str) -> dict[str, Any]:
        """Return the header of a file that holds `value`."""
        try:
            what = self.encode(value, "" if isinstance(value, Module | Mapping) else "what", label)
        except RecursionError:
            raise ValueError(
                f"{label or 'what'} is nested too deeply, expected less, and no list in itself"
            ) from None
        for name, optimizer, node in self._optimizers:  # now that all modules are known
            node["params"] = {key: self._place(name, key, p) for key, p in optimizer.params.items()}
        return {"modules": self._modules, "what": what}

    def encode(self, value: Any, name: str, label: str) -> Any:
        """Return the JSON of a value; its arrays get names that begin with `name`."""
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.bool_ | np.integer | np.floating):
            return value.item()
        if isinstance(value, np.ndarray):
            return {"kind": "array", "name": self._store(value, name, label)}
        if isinstance(value, list | tuple):
            items = [
                self.encode(item, _join(name, str(i)), f"{label}[{i}]")
                for i, item in enumerate(value)
            ]
            return items if isinstance(value, list) else {"kind": "tuple", "items": items}
        if isinstance(value, Mapping):
            return {"kind": "dict", "items": self._items(value, name, label)}
        if isinstance(value, Module):
            return {"kind": "module", "number": self._module(value, name, label)}
        if isinstance(value, Optimizer | Plateau):
            node = self._describe(value, name, label)
            node["state"] = {
                key: self._store(array, _join(name, key), f"{label}.state[{key!r}]")
                for key, array in value.state.items()
            }
            if isinstance(value, Optimizer):
                self._optimizers.append((label, value, node))
            return node
        raise TypeError(
            f"{label} is a {type(value).__name__}, expected a Module, an optimiser, a Plateau, an"
            " array, a number, a string, None, or a list, tuple or mapping of these"
        )

    def _items(self, mapping: Mapping[Any, Any], name: str, label: str) -> dict[str, Any]:
        items = {}
        for key, value in mapping.items():
            if not isinstance(key, str):
                raise TypeError(f"{label or 'what'} has the key {key!r}, expected a str")
            inner = f"{label}[{key!r}]" if label else key
            items[key] = self.encode(value, _join(name, key), inner)
        return items

    def _describe(self, value: Any, name: str, label: str) -> dict[str, Any]:
        cls = type(value)
        if _CLASSES.get(cls.__name__) is not cls:
            raise TypeError(
                f"{label} is a {cls.__name__}, expected one of {', '.join(_CLASSES)}:"
                f" io.register({cls.__name__}) adds it"
            )
        config = self._items(value.config(), name, label)
        return {"kind": "object", "class": cls.__name__, "config": config}

    def _module(self, module: Module, name: str, label: str) -> int:
        """Return the module's number, after those of the modules it is made of."""
        if id(module) in self._numbers:
            return self._numbers[id(module)]
        node = self._describe(module, name, label)
        # Those of a container are its children's, and listed with them.
        own = {key: p for key, p in module.params.items() if _memory(p) not in self._places}
        node["shared"] = [key for key in module.params if key not in own]
        node["params"] = {
            key: self._store(p, _join(name, key), f"{label}.params[{key!r}]")
            for key, p in own.items()
        }
        number = self._numbers[id(module)] = len(self._modules)
        self._keep.append(module)
        self._modules.append(node)
        self._places |= {_memory(p): (number, key) for key, p in own.items()}
        return number

    def _place(self, label: str, key: str, p: Array) -> tuple[int, str]:
        """Return the number of the module that a parameter belongs to, and its name there."""
        place = self._places.get(_memory(p))
        if place is None:
            raise ValueError(
                f"{label} steps the parameter {key!r}, which belongs to no module that is saved"
                " with it, expected the module beside it: save(path, model=model, adam=adam)"
            )
        return place

    def _store(self, value: Array, name: str, label: str) -> str:
        if value.dtype.kind not in "fiub" or value.dtype.itemsize > 8:
            raise TypeError(
                f"{label} has dtype {value.dtype}, expected bool, integers or floats up to float64"
            )
        if name in self.arrays:
            raise ValueError(f"{label} is the second array named {name!r}, expected other names")
        self.arrays[name] = np.asarray(value, value.dtype.newbyteorder("="), order="C")
        return name


class Reader:
    """Makes objects from the header and the arrays of a file."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self._arrays = arrays
        self._modules: list[Module] = []

    def finish(self, header: dict[str, Any]) -> Any:
        """Return the value that `Writer.finish` got."""
        for node in header["modules"]:
            self._modules.append(self._module(node))
        return self._decode(header["what"])

    def _decode(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self._decode(item) for item in node]
        if not isinstance(node, dict):
            return node
        kind = node["kind"]
        if kind == "tuple":
            return tuple(self._decode(item) for item in node["items"])
        if kind == "dict":
            return self._items(node["items"])
        if kind == "array":
            return self._arrays[node["name"]]
        if kind == "module":
            return self._modules[node["number"]]
        if kind == "object":
            return self._object(node)
        raise ValueError(f"kind is {kind!r}, expected tuple, dict, array, module or object")

    def _items(self, items: dict[str, Any]) -> dict[str, Any]:
        return {key: self._decode(value) for key, value in items.items()}

    def _class(self, node: dict[str, Any], kind: type[Any]) -> Any:
        cls = _CLASSES.get(node["class"])
        if cls is None or not issubclass(cls, kind):
            raise ValueError(
                f"class is {node['class']!r}, expected one of {', '.join(_CLASSES)}:"
                " io.register() adds a class of your own"
            )
        return cls

    def _object(self, node: dict[str, Any]) -> Any:
        """Return an optimiser, connected to the parameters of the modules, or a Plateau."""
        cls = self._class(node, Optimizer | Plateau)  # type: ignore[arg-type]
        config = self._items(node["config"])
        if issubclass(cls, Optimizer):
            config["params"] = {
                key: self._modules[number].params[name]
                for key, (number, name) in node["params"].items()
            }
        made = cls(**config)
        made.load({key: self._arrays[name] for key, name in node["state"].items()})
        return made

    def _module(self, node: dict[str, Any]) -> Module:
        cls = self._class(node, Module)
        config = self._items(node["config"])
        arrays = {key: self._arrays[name] for key, name in node["params"].items()}
        module: Module
        if cls in _BUILT_IN:
            _check_numbers(node["class"], config, arrays)
            with layers.creation.given(arrays):
                module = cls(**config)
        else:
            module = cls(**config)
        names = dict.fromkeys([*arrays, *node["shared"]])
        _check.same_keys(f"{node['class']}.params", names, module.params)
        own = {key: module.params[key] for key in arrays}
        _check.copy_into(f"{node['class']}.params", own, arrays)
        return module


def _check_numbers(name: str, config: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Require that no size is beyond what the arrays can hold: a constructor would allocate it."""
    limit = max((max(p.size, *p.shape, 1) for p in arrays.values()), default=0)
    limit = max(limit, len(arrays))
    for key, value in config.items():
        if isinstance(value, int) and value > limit:
            raise ValueError(f"{name} has {key} = {value}, expected at most {limit} for its arrays")


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _memory(p: Array) -> Any:
    """Return what tells a parameter from all others: where it is, and its shape and dtype."""
    return p.__array_interface__["data"][0], p.shape, p.dtype.str

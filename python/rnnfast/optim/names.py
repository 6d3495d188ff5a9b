"""Names of parameters: nested mappings, and groups chosen by patterns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .. import _check

OPTIONS = ("lr_scale", "weight_decay")


def flatten(name: str, nested: Any) -> dict[str, Any]:
    """Return the leaves of a mapping, which may hold further ones, by names such as "enc.w"."""
    if not isinstance(nested, Mapping):
        raise TypeError(f"{name} is a {type(nested).__name__}, expected a mapping of arrays")
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if not isinstance(key, str):
            raise TypeError(f"{name} has the key {key!r}, expected a str")
        found = {key: value}
        # the class of mappings takes long to ask, and most values are arrays
        if not isinstance(value, np.ndarray) and isinstance(value, Mapping):
            inner = flatten(f"{name}[{key!r}]", value)
            found = {f"{key}.{rest}": leaf for rest, leaf in inner.items()}
        for full, leaf in found.items():
            if full in flat:
                raise ValueError(f"{name} has two entries named {full!r}, expected one")
            flat[full] = leaf
    return flat


def check_parameters(params: Mapping[str, Any]) -> None:
    """Require arrays that can be stepped in place, each with memory of its own."""
    for name, p in params.items():
        _check.float_array(f"params[{name!r}]", p)
        _check.in_place(f"params[{name!r}]", p)
    spans = sorted(
        (p.__array_interface__["data"][0], p.nbytes, name) for name, p in params.items() if p.size
    )
    for (start, size, name), (next_start, _, other) in pairwise(spans):
        if next_start < start + size:
            raise ValueError(
                f"params[{name!r}] and params[{other!r}] share memory, expected arrays of their"
                " own: where layers share a parameter, leave out all of its names but one, and"
                " give step() the sum of their gradients"
            )


class Group(NamedTuple):
    """Parameters that are stepped with the same numbers."""

    names: list[str]
    lr_scale: float = 1.0
    weight_decay: float | None = None  # None: the optimiser's own


def split(names: list[str], options: Any) -> list[Group]:
    """Return the groups that `options`, a mapping from pattern to options, makes of the names."""
    if not isinstance(options, Mapping):
        raise TypeError(
            f"groups is a {type(options).__name__}, expected a mapping of patterns to options"
        )
    groups, left = [], list(names)
    for pattern, chosen in options.items():
        label = f"groups[{pattern!r}]"
        if not isinstance(pattern, str):
            raise TypeError(f"groups has the key {pattern!r}, expected a str")
        if not isinstance(chosen, Mapping):
            expected = f"expected a mapping of {' and '.join(OPTIONS)}"
            raise TypeError(f"{label} is a {type(chosen).__name__}, {expected}")
        for option, value in chosen.items():
            if option not in OPTIONS:
                raise ValueError(
                    f"{label} has the option {option!r}, expected {' or '.join(OPTIONS)}"
                )
            _check.real(f"{label}[{option!r}]", value, 0.0, math.inf, "[0, inf)")
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            raise ValueError(f"{label} matches no parameter, expected one of {_check.some(names)}")
        groups.append(Group([name for name in left if name in matched], **chosen))
        left = [name for name in left if name not in matched]
    return [group for group in (*groups, Group(left)) if group.names]

"""Checks of arguments, each message written once: the name, what came, what was expected."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Lengths: TypeAlias = Sequence[int] | npt.NDArray[np.integer[Any]]
RNG: TypeAlias = "int | np.random.Generator | None"

DTYPES = ("float32", "float64")
_NATIVE = tuple(map(np.dtype, DTYPES))


def integer(name: str, value: Any, minimum: int) -> int:
    """Return `value` as an int of at least `minimum`."""
    if isinstance(value, bool | np.bool_) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is {value!r}, expected an integer >= {minimum}")
    number = operator.index(value)
    if number < minimum:
        raise ValueError(f"{name} is {number}, expected an integer >= {minimum}")
    return number


def real(name: str, value: Any, low: float, high: float, interval: str) -> float:
    """Return `value` as a float inside the `interval`, written as "[0, 1)", from low to high."""
    if isinstance(value, bool | np.bool_ | str) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} is {value!r}, expected a number in {interval}")
    number = float(value)
    above = number >= low if interval[0] == "[" else number > low
    below = number <= high if interval[-1] == "]" else number < high
    if not (above and below):  # NaN fails both
        raise ValueError(f"{name} is {number}, expected a number in {interval}")
    return number


def choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return `value`, one of the strings `choices`."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}, expected one of {', '.join(choices)}")
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(choices)}")
    return value


def float_dtype(value: Any) -> np.dtype[Any]:
    """Return `value` as the dtype of parameters: float32 or float64 in native byte order."""
    expected = " or ".join(DTYPES)
    try:
        dtype: np.dtype[Any] = np.dtype(value)
    except TypeError:
        raise TypeError(f"dtype is {value!r}, expected {expected}") from None
    if dtype not in _NATIVE:
        raise TypeError(f"dtype is {value!r}, expected {expected} in native byte order")
    return dtype


def generator(rng: RNG) -> np.random.Generator:
    """Return the random generator that `rng` stands for (SPEC 7)."""
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is not None:
        rng = integer("rng, unless None or a numpy.random.Generator,", rng, 0)
    return np.random.default_rng(rng)


def array(
    name: str, value: Any, dtype: np.dtype[Any], shape: tuple[int, ...] | None, symbols: str = ""
) -> Array:
    """Return `value`, an ndarray of exactly this dtype and, unless None, this shape."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} is a {type(value).__name__}, expected a {dtype} ndarray")
    if value.dtype != dtype:
        raise TypeError(f"{name} has dtype {value.dtype}, expected {dtype}")
    if shape is not None and value.shape != shape:
        expected = f"{symbols} = {shape}" if symbols else str(shape)
        raise ValueError(f"{name} has shape {value.shape}, expected {expected}")
    return value


def float_array(name: str, value: Any) -> Array:
    """Return `value`, an ndarray of one of the dtypes of parameters."""
    expected = " or ".join(DTYPES)
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} is a {type(value).__name__}, expected an ndarray of {expected}")
    if value.dtype not in _NATIVE:
        raise TypeError(f"{name} has dtype {value.dtype}, expected {expected} in native byte order")
    return value


def writeable(name: str, value: Array) -> None:
    """Require that `value` can be written, which parameters of a frozen layer can not."""
    if not value.flags.writeable:
        raise ValueError(
            f"{name} is read-only, expected a writeable array: if its layer is frozen, unfreeze it"
        )


def same_keys(name: str, values: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Require that the mapping `values` has the keys of `expected`, in any order."""
    if not isinstance(values, Mapping):
        raise TypeError(f"{name} is a {type(values).__name__}, expected a mapping of arrays")
    missing = [key for key in expected if key not in values]
    unexpected = [key for key in values if key not in expected]
    if missing or unexpected:
        raise ValueError(
            f"{name} has the keys {list(values)}, expected {list(expected)}:"
            f" missing {missing}, unexpected {unexpected}"
        )


def copy_into(name: str, targets: Mapping[str, Array], values: Mapping[str, Any]) -> None:
    """Copy `values` into `targets` in place, once every key, dtype and shape has been checked."""
    same_keys(name, values, targets)
    for key, target in targets.items():
        array(f"{name}[{key!r}]", values[key], target.dtype, target.shape)
        writeable(key, target)
    for key, target in targets.items():
        target[...] = values[key]

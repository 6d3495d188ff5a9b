"""Checks of arguments, each message written once: the name, what came, what was expected."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Lengths: TypeAlias = Sequence[int] | npt.NDArray[np.integer[Any]]
# What numpy.random.default_rng takes; a string, since numpy.random is slow to import.
RNG: TypeAlias = (
    "int | Sequence[int] | npt.NDArray[np.integer[Any]] | np.random.SeedSequence"
    " | np.random.BitGenerator | np.random.Generator | None"
)

DTYPES = ("float32", "float64")
_NATIVE = tuple(map(np.dtype, DTYPES))


def integer(name: str, value: Any, minimum: int) -> int:
    """Return `value` as an int of at least `minimum`."""
    expected = f"expected an integer >= {minimum}"
    if isinstance(value, bool | np.bool_ | np.ndarray) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is {_shown(value)}, {expected}")
    number = operator.index(value)
    if number < minimum:
        raise ValueError(f"{name} is {number}, {expected}")
    return number


def real(name: str, value: Any, low: float, high: float, interval: str) -> float:
    """Return `value` as a float inside the `interval`, written as "[0, 1)", from low to high."""
    expected = f"expected a number in {interval}"
    no_number = bool | np.bool_ | str | np.ndarray | np.complexfloating
    if isinstance(value, no_number) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} is {_shown(value)}, {expected}")
    try:
        number = float(value)
    except OverflowError:  # an int beyond the largest float
        number = math.inf if value > 0 else -math.inf
    above = number >= low if interval[0] == "[" else number > low
    below = number <= high if interval[-1] == "]" else number < high
    if not (above and below):  # NaN fails both
        raise ValueError(f"{name} is {number}, {expected}")
    return number


def boolean(name: str, value: Any) -> bool:
    """Return `value`, True or False, as a bool: no other value is taken for one of them."""
    if value is True or value is False:
        return value
    if not isinstance(value, np.bool_):
        raise TypeError(f"{name} is {_shown(value)}, expected True or False")
    return bool(value)


def _shown(value: Any) -> str:
    """Return what came, as short as a message needs it."""
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} ndarray of shape {value.shape}"
    return repr(value)


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
    expected = (
        "expected None, an integer >= 0, a sequence of such integers,"
        " or a numpy.random SeedSequence, BitGenerator or Generator"
    )
    # NumPy itself would take True for 1.
    if isinstance(rng, bool | np.bool_):
        raise TypeError(f"rng is {rng!r}, {expected}")
    try:
        return np.random.default_rng(rng)
    except TypeError:
        raise TypeError(f"rng is {_shown(rng)}, {expected}") from None
    except ValueError:
        raise ValueError(f"rng is {_shown(rng)}, {expected}") from None


def lengths(value: Lengths, T: int, B: int) -> Array:
    """Return `value`, the length of each of B sequences of at most T steps, as int64 (B,)."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "iu":
            raise TypeError(f"lengths has dtype {value.dtype}, expected integers")
        if value.shape != (B,):
            raise ValueError(f"lengths has shape {value.shape}, expected (B,) = ({B},)")
    elif isinstance(value, list | tuple):
        for b, n in enumerate(value):
            if isinstance(n, bool | np.bool_ | np.ndarray) or not hasattr(n, "__index__"):
                raise TypeError(f"lengths[{b}] is a {type(n).__name__}, expected an integer")
        if len(value) != B:
            raise ValueError(f"lengths has {len(value)} entries, expected B = {B}")
    else:
        raise TypeError(
            f"lengths is a {type(value).__name__}, expected a list or array of integers"
        )
    # Python's integers never overflow.
    numbers = value.tolist() if isinstance(value, np.ndarray) else list(map(operator.index, value))
    for b, n in enumerate(numbers):
        if not 0 <= n <= T:
            raise ValueError(f"lengths[{b}] is {n}, expected 0 <= length <= T = {T}")
    return np.array(numbers, np.int64)


def array(
    name: str, value: Any, dtype: np.dtype[Any], shape: tuple[int, ...] | None, symbols: str = ""
) -> Array:
    """Return `value`, an ndarray of exactly this dtype and, unless None, this shape."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} is a {type(value).__name__}, expected a {dtype} ndarray")
    if value.dtype != dtype:
        advice = ""
        if value.dtype in _NATIVE and dtype in _NATIVE:
            advice = (
                f': convert it with .astype("{dtype}"),'
                f' or make the layer with dtype="{value.dtype}"'
            )
        raise TypeError(f"{name} has dtype {value.dtype}, expected {dtype}{advice}")
    if shape is not None and value.shape != shape:
        expected = f"{symbols} = {shape}" if symbols else str(shape)
        raise ValueError(f"{name} has shape {value.shape}, expected {expected}")
    return value


def as_int64(integers: Array) -> Array:
    """Return an array of integers as the kernels read them: flat, of type int64."""
    if integers.dtype == np.uint64:  # what is beyond int64 stays beyond every bound
        integers = np.minimum(integers, np.uint64(np.iinfo(np.int64).max))
    flat = integers.astype(np.int64, copy=False).ravel()
    return flat if flat.flags.aligned else flat.copy()


def float_array(name: str, value: Any) -> Array:
    """Return `value`, an ndarray of one of the dtypes of parameters."""
    expected = " or ".join(DTYPES)
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} is a {type(value).__name__}, expected an ndarray of {expected}")
    if value.dtype not in _NATIVE:
        raise TypeError(f"{name} has dtype {value.dtype}, expected {expected} in native byte order")
    return value


def in_place(name: str, value: Array) -> None:
    """Require that the elements of `value` lie in memory one after the other."""
    if not (value.flags.c_contiguous and value.flags.aligned):
        raise ValueError(
            f"{name} is a view that is not C-contiguous or not aligned (shape {value.shape},"
            f" strides {value.strides}), expected an array whose elements can be written in place"
        )


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
            f"{name} has the keys {some(values)}, expected {some(expected)}:"
            f" missing {some(missing)}, unexpected {some(unexpected)}"
        )


def some(keys: Iterable[str]) -> str:
    """Return the first keys, and how many there are if these are not all."""
    keys = list(keys)
    return f"{keys}" if len(keys) <= 8 else f"[{str(keys[:8])[1:-1]}, ... {len(keys)} in all]"


def copy_into(name: str, targets: Mapping[str, Array], values: Mapping[str, Any]) -> None:
    """Copy `values` into `targets` in place, once every key, dtype and shape has been checked."""
    same_keys(name, values, targets)
    sources = {key: values[key] for key in targets}  # read once: a file reads it every time
    for key, target in targets.items():
        array(f"{name}[{key!r}]", sources[key], target.dtype, target.shape)
        writeable(key, target)
    for key, source in sources.items():
        if any(np.may_share_memory(source, target) for target in targets.values()):
            sources[key] = source.copy()  # before what it shares is overwritten
    for key, target in targets.items():
        target[...] = sources[key]

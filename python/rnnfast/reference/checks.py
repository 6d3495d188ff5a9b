"""What a layer accepts: each error names the argument, what came and what was expected."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _check
from .._check import Array, Lengths
from ..wrappers import State
from .cell import CELLS, Arrays, Cell
from .scan import Weights

_DTYPES = ("float32", "float64", "complex64", "complex128")


class Problem(NamedTuple):
    """The cell and the sizes of one call, and the dtype of all its arrays: x's."""

    cell: Cell
    T: int
    B: int
    I: int  # noqa: E741
    H: int
    dtype: np.dtype[Any]

    def check(self, name: str, value: object, *letters: str) -> None:
        """Check kind, dtype and shape; the shape in letters, as in ("G*H", "I")."""
        array = check_kind(name, value, self.dtype)
        sizes = {"T": self.T, "B": self.B, "I": self.I, "H": self.H}
        sizes |= {"G*H": self.cell.gates * self.H, "P": self.cell.params}
        shape = tuple(sizes[letter] for letter in letters)
        if array.shape != shape:
            words = ", ".join(letters).replace("G", f"{self.cell.gates}")
            words = words.replace("P", f"{self.cell.params}") + ("," if len(letters) == 1 else "")
            raise ValueError(
                f"{name} has shape {array.shape}, expected ({words}) = {shape} for {self.cell.name}"
            )


def find_cell(name: str) -> Cell:
    """The cell of that name."""
    if name not in CELLS:
        raise ValueError(f"cell is {name!r}, expected one of {', '.join(CELLS)}")
    return CELLS[name]


def check_layer(cell: Cell, x: Array, weights: Weights) -> Problem:
    """Check the input and the parameters of a layer, and give its sizes."""
    check_kind("x", x, None)
    if x.ndim != 3:
        raise ValueError(f"x has shape {x.shape}, expected (T, B, I)")
    T, B, I = x.shape  # noqa: E741
    check_kind("W_ax", weights.W_ax, x.dtype)
    rows = len(weights.W_ax) if weights.W_ax.ndim else 0
    H = rows // cell.gates
    if rows == 0 or rows % cell.gates or weights.W_ax.shape != (rows, I):
        raise ValueError(
            f"W_ax has shape {weights.W_ax.shape}, expected ({cell.gates}*H, I) with H > 0 "
            f"and I = {I} for {cell.name}"
        )
    problem = Problem(cell, T, B, I, H, x.dtype)
    problem.check("W_aa", weights.W_aa, "G*H", "H")
    for name in ("b_a", "b_aa"):
        if getattr(weights, name) is not None:
            problem.check(name, getattr(weights, name), "G*H")
    if weights.peephole is not None and cell.params == 0:
        raise ValueError(f"peephole was given, but {cell.name} has none")
    if cell.params:
        problem.check("peephole", weights.peephole, "P", "H")
    return problem


def state_or_zeros(problem: Problem, argument: str, value: State) -> Arrays:
    """The arrays of a "state" or a "dstate"; None, whole or half, becomes zeros."""
    names = ("a0", "c0") if argument == "state" else ("da_T", "dc_T")
    if problem.cell.states == 1:
        if isinstance(value, tuple):
            raise TypeError(
                f"{argument} is a tuple, expected one array or None for {problem.cell.name}"
            )
        halves = [value]
    elif value is None:
        halves = [None, None]
    elif isinstance(value, tuple):
        halves = list(value)
    else:
        raise TypeError(
            f"{argument} is a {type(value).__name__}, expected None or the tuple "
            f"({', '.join(names)}) for {problem.cell.name}"
        )
    if len(halves) != problem.cell.states:
        raise ValueError(
            f"{argument} has {len(halves)} entries, expected {problem.cell.states} "
            f"for {problem.cell.name}"
        )
    zeros = np.zeros((problem.B, problem.H), problem.dtype)
    arrays = []
    for name, half in zip(names, halves, strict=False):
        if half is not None:
            problem.check(name, half, "B", "H")
        arrays.append(zeros if half is None else np.asarray(half))
    return tuple(arrays)


def lengths_or_full(problem: Problem, lengths: Lengths | None) -> Array:
    """The length of each sequence; None means that all have T steps."""
    if lengths is None:
        return np.full(problem.B, problem.T)
    return _check.lengths(lengths, problem.T, problem.B)


def check_skip(skip: Collection[str], names: Sequence[str]) -> None:
    """Check that `skip` holds names of gradients."""
    if isinstance(skip, str):
        raise TypeError("skip is a str, expected a tuple of names")
    for name in skip:
        if name not in names:
            raise ValueError(f"skip has {name!r}, expected names among {', '.join(names)}")


def check_kind(name: str, value: object, dtype: np.dtype[Any] | None) -> Array:
    """Give an argument that is an array of x's dtype (None: of any that is supported)."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} is a {type(value).__name__}, expected a NumPy array")
    if dtype is None and value.dtype not in [np.dtype(d) for d in _DTYPES]:
        raise TypeError(f"{name} has dtype {value.dtype}, expected one of {', '.join(_DTYPES)}")
    if dtype is not None and value.dtype != dtype:
        raise TypeError(f"{name} has dtype {value.dtype}, expected {dtype}, the dtype of x")
    return value

"""What a random problem is drawn from: sizes around every threshold, lengths, layouts."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from problems import Array, Problem
from rnnfast.reference import CELLS

Generator: TypeAlias = np.random.Generator
Results: TypeAlias = dict[str, Array]
Sizes: TypeAlias = tuple[int, int, int, int]  # T, B, I, H

# Around the vectors of all tiers; the groups of rows and direct rows of csrc/plan.hpp; the chunks
# of steps, whose product with the rows of a group is at most 512.
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 64, 65)
BATCHES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 66, 127, 128, 129)
STEPS = (0, 1, 2, 3, 4, 5, 8, 9, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 511, 512, 513)
LONG_SUM = 256  # terms that a tile adds up in one go
SLICE = 24 << 10  # bytes of W_aa that make a thread worth its waiting; two of them, a gang
LARGE = 2 << 20  # bytes of W_aa from which on a group takes up to 64 rows
MOST_WORK = 2e8  # multiplications of a forward pass: a tenth of a second in the reference

DTYPES = ("float32", "float64")
LAYOUTS = ("plain", "fortran", "strided", "negative", "unaligned", "swapped", "rows apart")


def pick(rng: Generator, values: Any) -> Any:
    """One of the values."""
    return values[rng.integers(len(values))]


def draw_sizes(rng: Generator, gates: int, dtype: str) -> Sizes:
    """T, B, I and H, not too large together."""
    item = np.dtype(dtype).itemsize
    near = int(rng.integers(-2, 3))
    kind = rng.random()
    if kind < 0.35:
        H = pick(rng, WIDTHS)
    elif kind < 0.6:
        H = int(np.sqrt(rng.integers(1, 9) * SLICE / gates / item)) + near
    elif kind < 0.68:
        H = int(np.sqrt(LARGE / gates / item)) + near
    elif kind < 0.75:
        H = LONG_SUM + near
    else:
        H = int(rng.integers(1, 160))
    I = pick(rng, (0, 1, H, *WIDTHS, LONG_SUM + near))  # noqa: E741
    T, B = pick(rng, STEPS), pick(rng, BATCHES)
    while gates * H * (I + H) * T * B > MOST_WORK:
        if T > 3 and (B == 1 or rng.random() < 0.5):
            T //= 2
        elif B > 1:
            B //= 2
        else:
            T, I = max(T // 2, 1), I // 2  # noqa: E741
    return T, B, I, H


def draw_lengths(rng: Generator, T: int, B: int) -> Array | None:
    """Lengths of a random kind, or None."""
    kind = pick(rng, ("none", "none", "any", "any", "short", "equal", "zero", "one", "one long"))
    most = max(T - 1, 0)
    lengths = {
        "any": rng.integers(0, T + 1, B),
        "short": rng.integers(0, most // 2 + 1, B),
        "equal": np.full(B, rng.integers(0, T + 1)),
        "zero": np.zeros(B, int),
        "one": np.full(B, min(T, 1)),
        "one long": np.minimum(rng.integers(0, 2, B) + most * (np.arange(B) == B // 2), T),
    }
    if kind == "none":
        return None
    return lengths[kind].astype(
        pick(rng, ("int64", "int32", "uint64", "int8" if T < 128 else "i8"))
    )


def lay_out(rng: Generator, array: Array, layout: str) -> Array:
    """The same values, elsewhere in memory and in another order."""
    axis = int(rng.integers(array.ndim))
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout in ("strided", "rows apart"):
        axis = axis if layout == "strided" else array.ndim - 1
        shape = list(array.shape)
        shape[axis] = 2 * shape[axis] + 1
        place = np.full(shape, np.nan, array.dtype)
        step = 2 if layout == "strided" else 1
        view = place[(slice(None),) * axis + (slice(0, array.shape[axis] * step, step),)]
    elif layout == "negative":
        return np.flip(np.flip(array, axis).copy(), axis)
    elif layout == "unaligned":
        view = np.ndarray(array.shape, array.dtype, bytearray(array.nbytes + 1), offset=1)
    elif layout == "swapped" and array.ndim > 1:
        return array.swapaxes(0, 1).copy().swapaxes(0, 1)
    else:
        return array.copy()
    view[...] = array
    return view


def lay_out_all(rng: Generator, problem: Problem) -> Problem:
    """The problem with each array in a random layout; some can not be written, some repeat a row.

    What repeats is the first step, or the first row, so that NaN stays past the lengths.
    """
    changes = {}
    for name, array in problem.arrays():
        if name == "lengths":
            continue
        laid = lay_out(rng, array, pick(rng, LAYOUTS))
        if array.size and rng.random() < 0.1:
            laid = np.broadcast_to(laid[:1], array.shape)
        elif rng.random() < 0.2:
            laid.flags.writeable = False
        changes[name] = laid
    return problem.with_(**changes)


def tame(problem: Problem) -> Problem:
    """The problem with recurrent weights that let no rounding error grow over many steps."""
    T, H = len(problem.x), problem.W_aa.shape[1]
    if T <= 16 or H > 64:  # random weights of many units have no direction that grows
        return problem
    gates = problem.W_aa.reshape(-1, H, H)
    norms = np.linalg.norm(gates.astype(np.float64), 2, axis=(1, 2)).max()
    return problem.with_(W_aa=problem.W_aa * problem.W_aa.dtype.type(min(1, 0.9 / norms)))


def comparable(cell: str, results: Results) -> Results:
    """The results that rounding to float32 changes little: not the gradients of relu.

    Their factor is 0 or 1, and rounding decides which it is where the argument is near 0.
    """
    if cell != "rnn_relu" or results[next(iter(results))].dtype == np.float64:
        return results
    return {name: value for name, value in results.items() if not name.startswith("d")}


def drop_some(rng: Generator, problem: Problem) -> Problem:
    """The problem with some of the arguments that may be None set to None."""
    names = ("b_a", "b_aa", "a0", "c0", "da", "da_T", "dc_T")
    absent = [name for name in names if rng.random() < 0.15]
    return problem.with_(**dict.fromkeys(absent))


def draw_cell(rng: Generator) -> str:
    """Any cell of the registry."""
    return str(pick(rng, list(CELLS)))

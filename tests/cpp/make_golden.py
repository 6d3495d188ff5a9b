"""Write the golden files that the C++ tests read: ``python tests/cpp/make_golden.py``.

A file holds one case: the arguments of one ``run_vjp`` call and everything it returns, from the
NumPy reference in float64. Inputs are exact in float32, so one file serves both dtypes. Layout:

    rnnfast-golden 1
    cell gru_after
    reverse 0
    f4 x 3 2 4           one line an array: type (f4, f8, i8), name, shape
    ...
    data
    <the arrays in that order, row-major, little-endian>

Inputs: x W_ax W_aa b_a b_aa peephole a0 c0 lengths da da_T dc_T; results: a a_T c_T dx da0 dc0
dW_ax dW_aa db_a db_aa dpeephole. An array that is None is left out.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rnnfast.reference import CELLS, run_vjp

FOLDER = Path(__file__).parent / "golden"

Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    T: int
    B: int
    I: int  # noqa: E741
    H: int
    lengths: tuple[int, ...] | None = None
    reverse: bool = False
    bare: bool = False  # no biases, initial states or gradients of final states


# H lies around the vector widths 2, 4, 8 and 16; B around the heights of a register tile.
CASES = {
    "unit": Case(T=3, B=2, I=1, H=1),
    "square": Case(T=4, B=3, I=8, H=8),
    "ragged": Case(T=5, B=5, I=5, H=7, lengths=(5, 0, 3, 1, 5)),
    "ragged_reverse": Case(T=4, B=4, I=2, H=9, lengths=(2, 4, 0, 3), reverse=True),
    "reverse": Case(T=3, B=1, I=9, H=17, reverse=True),
    "wide": Case(T=3, B=9, I=4, H=21),
    "long": Case(T=180, B=3, I=1, H=2),  # more terms in dW than one summation block takes
    "bare": Case(T=3, B=2, I=3, H=4, bare=True),
}


def uniform(seed: str, *shape: int) -> NDArray[np.float32]:
    """Values in (-1, 1) that never change: the standard library fixes this sequence."""
    draw = random.Random(seed).random
    values = [2.0 * draw() - 1.0 for _ in range(int(np.prod(shape)))]
    return np.array(values, dtype=np.float32).reshape(shape)


def inputs(cell: str, name: str, case: Case) -> dict[str, Array]:
    T, B, I, H = case.T, case.B, case.I, case.H  # noqa: E741
    G, P, two_states = CELLS[cell].gates, CELLS[cell].params, CELLS[cell].states == 2
    shapes: dict[str, tuple[int, ...]] = {"x": (T, B, I), "W_ax": (G * H, I), "W_aa": (G * H, H)}
    if not case.bare:
        shapes |= {"b_a": (G * H,), "b_aa": (G * H,)}
    if P:
        shapes["peephole"] = (P, H)
    if not case.bare:
        shapes |= {"a0": (B, H)} | ({"c0": (B, H)} if two_states else {})
    shapes["da"] = (T, B, H)
    if not case.bare:
        shapes |= {"da_T": (B, H)} | ({"dc_T": (B, H)} if two_states else {})
    arrays: dict[str, Array] = {
        key: uniform(f"{cell}/{name}/{key}", *shape) for key, shape in shapes.items()
    }
    arrays["W_aa"] /= np.float32(2.0 ** np.ceil(np.log2(H) / 2))  # no growth over long sequences
    if case.lengths is not None:
        arrays["lengths"] = np.array(case.lengths, dtype=np.int64)
    return arrays


def results(cell: str, case: Case, given: dict[str, Array]) -> dict[str, Array]:
    wide = {k: v.astype(np.float64) for k, v in given.items() if v.dtype == np.float32}
    two_states = CELLS[cell].states == 2
    state: Any = (wide.get("a0"), wide.get("c0")) if two_states else wide.get("a0")
    dstate: Any = (wide.get("da_T"), wide.get("dc_T")) if two_states else wide.get("da_T")
    a, final, pullback = run_vjp(
        cell,
        wide["x"],
        state,
        wide["W_ax"],
        wide["W_aa"],
        wide.get("b_a"),
        wide.get("b_aa"),
        peephole=wide.get("peephole"),
        lengths=given.get("lengths"),
        reverse=case.reverse,
    )
    finals = dict(zip(("a_T", "c_T"), final if two_states else (final,), strict=False))
    grads = pullback(wide["da"], dstate)
    return {"a": a} | finals | {f"d{key}": grad for key, grad in grads.items()}


def encode(cell: str, name: str, case: Case) -> bytes:
    given = inputs(cell, name, case)
    arrays = given | results(cell, case, given)
    head = ["rnnfast-golden 1", f"cell {cell}", f"reverse {int(case.reverse)}"]
    body = b""
    for key, array in arrays.items():
        kind = f"{array.dtype.kind}{array.dtype.itemsize}"
        head.append(" ".join([kind, key, *map(str, array.shape)]))
        body += array.astype(array.dtype.newbyteorder("<")).tobytes()
    return ("\n".join([*head, "data"]) + "\n").encode() + body


def main() -> None:
    for cell in CELLS:
        for name, case in CASES.items():
            path = FOLDER / cell / f"{name}.golden"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(cell, name, case))


if __name__ == "__main__":
    main()

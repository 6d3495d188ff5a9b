"""Sizes beyond all memory are a MemoryError, whatever the array that stands for them."""

from __future__ import annotations

import numpy as np
import pytest
from child_process import run_in_child
from problems import assert_same_bits, make
from rnnfast import functional
from rnnfast.reference import CELLS

CODE = """
import resource, sys
import numpy as np
from problems import make
from rnnfast import _rnnfast

resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))  # should a size pass for a small one
cell, axis = sys.argv[1:]
small = make(cell, 1, 1, 1, 1, dtype="float32")
_, _, state, W_ax, W_aa, b_a, b_aa = small.layer
G = len(W_ax)


def large(array, *shape):
    return None if array is None else np.broadcast_to(array.ravel()[:1], shape)


def refused(function, *arguments):
    try:
        function(*arguments)
    except MemoryError:
        return
    sys.exit(f"{function.__name__} takes {axis} = 2**{power}")


# as large as NumPy makes views of arrays with these axes
powers = {"T": (51, 56, 57, 58, 60), "B": (51, 56, 57, 58, 60), "I": (51, 56, 58), "H": (29,)}
for power in powers[axis]:
    T, B, I, H = (2**power if axis == name else 1 for name in "TBIH")
    weights = (
        large(W_ax, G * H, I), large(W_aa, G * H, H), large(b_a, G * H), large(b_aa, G * H),
        None if small.peephole is None else large(small.peephole, len(small.peephole), H),
    )
    rest = (None, False, None, False)
    for function in (_rnnfast.run, _rnnfast.run_vjp):
        refused(function, cell, large(small.x, T, B, I), None, *weights, *rest)
    if axis in "IH":
        refused(_rnnfast.pack, cell, *weights)
    if axis != "T":
        refused(_rnnfast.Stream, cell, [weights], B)
print("all refused")
"""


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("axis", ["T", "B", "I", "H"])
def test_beyond_all_memory(cell: str, axis: str) -> None:
    assert run_in_child(CODE, cell, axis) == "all refused\n"


DENSE = """
import numpy as np
from rnnfast import _rnnfast

for power in (51, 56, 59):
    x, W = np.zeros((0, 2**power)), np.zeros((0, 2**power))
    y = np.zeros((0, 0))
    for call in (
        lambda: _rnnfast.dense(x, W, None, "tanh"),
        lambda: _rnnfast.dense_vjp(x, W, y, y, "tanh", True),
    ):
        try:
            call()
        except MemoryError:
            continue
        raise SystemExit(f"dense takes I = 2**{power}")
print("all refused")
"""


def test_dense() -> None:
    assert run_in_child(DENSE) == "all refused\n"


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("T", [2**40, 2**50, 2**58])
def test_arrays_are_unchanged(cell: str, T: int) -> None:
    problem = make(cell, 1, 1, 1, 33, dtype="float32").with_(da=None)
    copies = {name: array.copy() for name, array in problem.arrays()}
    x = np.broadcast_to(problem.x, (T, 1, 1))
    for function in (functional.run, functional.run_vjp):
        with pytest.raises(MemoryError):
            function(cell, x, *problem.layer[2:], peephole=problem.peephole)
    assert_same_bits(dict(problem.arrays()), copies)

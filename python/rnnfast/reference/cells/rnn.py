"""The plain recurrent cell: a = g1(W_aa a_prev + b_aa + W_ax x + b_a).

Source: J. L. Elman, Finding structure in time, Cognitive Science 14 (1990).
"""

from collections.abc import Callable

import numpy as np

from ..._check import Array
from ..activations import identity, relu, sigmoid, tanh
from ..cell import Arrays, Cell, Deltas, Made, Stage, register


def _register(
    name: str, g1: Callable[[Array], Array], through_g1: Callable[[Array, Array], Array]
) -> None:
    """Register rnn_<name>; through_g1(a, da) is da g1'(s), written in a = g1(s)."""

    def forward(x: Array, r: Array, prev: Arrays, saved: Arrays, p: Array | None) -> Made:
        a = g1(x[0] + r[0])
        return Made((a,), saved=(a,))

    def backward(
        saved: Arrays, prev: Arrays, dstate: Arrays, dq: Array | None, p: Array | None
    ) -> Deltas:
        (a,), (da,) = saved, dstate
        ds = through_g1(a, da)
        return Deltas(dx=(ds,), dr=(ds,), dprev=(np.zeros_like(da),))

    register(Cell(f"rnn_{name}", stages=(Stage(("s",), forward, backward),)))


_register("tanh", tanh, lambda a, da: da * (1 - a * a))
_register("relu", relu, lambda a, da: np.where(a <= 0, 0, da))
_register("sigmoid", sigmoid, lambda a, da: da * a * (1 - a))
_register("identity", identity, lambda a, da: da)

"""The order in which each system stores the gates, and the function that permutes them."""

from __future__ import annotations

import numpy as np

from . import _check
from ._check import Array

__all__ = ["GATES", "permute"]

# One letter a block, in our letters: Keras and ONNX write c for g, and h for n. "peephole" is
# the order of the LSTM's peephole weights.
GATES = {
    "lstm": {"rnnfast": "ifgo", "torch": "ifgo", "keras": "ifgo", "onnx": "iofg"},
    "gru": {"rnnfast": "rzn", "torch": "rzn", "keras": "zrn", "onnx": "zrn"},
    "rnn": {"rnnfast": "a", "torch": "a", "keras": "a", "onnx": "a"},
    "peephole": {"rnnfast": "ifo", "onnx": "iof"},
}


def permute(W: Array, cell: str, *, source: str, target: str = "rnnfast", axis: int = 0) -> Array:
    """Return a copy of W with its gate blocks moved from one system's order to another's.

    Parameters
    ----------
    W : ndarray
        Weights or biases, whose `axis` holds G blocks of one size.
    cell : str
        ``"rnn"``, ``"lstm"``, ``"gru"``, or ``"peephole"`` for an LSTM's peephole weights.
    source, target : str
        ``"rnnfast"``, ``"torch"``, ``"keras"`` or ``"onnx"``.
    axis : int
        The axis of the gates: 0, or -1 for Keras, which keeps them in columns.

    Raises
    ------
    TypeError, ValueError
        If W is no ndarray, its axis does not divide into the gates, or a name is unknown.
    """
    orders = GATES[_check.choice("cell", cell, tuple(GATES))]
    old = orders[_check.choice("source", source, tuple(orders))]
    new = orders[_check.choice("target", target, tuple(orders))]
    if not isinstance(W, np.ndarray):
        raise TypeError(f"W is a {type(W).__name__}, expected an ndarray")
    if not -W.ndim <= axis < W.ndim:
        raise ValueError(f"axis is {axis}, expected one of the {W.ndim} axes of W")
    if W.shape[axis] % len(old):
        raise ValueError(
            f"W has shape {W.shape}, expected axis {axis} to be a multiple of"
            f" the {len(old)} gates of {cell}"
        )
    blocks = np.split(W, len(old), axis)
    return np.concatenate([blocks[old.index(gate)] for gate in new], axis)

"""One recurrent layer in one direction, as pure functions of its arrays.

The letters are those of the maths: ``T`` steps, ``B`` sequences, ``I`` inputs, ``H`` hidden units,
``G`` gates. ``x`` is ``(T, B, I)``, ``a`` is ``(T, B, H)``, ``W_ax`` ``(G*H, I)``, ``W_aa``
``(G*H, H)``, ``b_a`` and ``b_aa`` ``(G*H,)``, states ``(B, H)``. All arrays of a call have one
dtype, float32 or float64. `rnnfast.reference` has the same functions in plain NumPy.
"""

from __future__ import annotations

from typing import Any

from . import _rnnfast
from ._check import Array, Lengths
from .wrappers import Pullback, State, Wrappers, refuse

__all__ = [
    "gru",
    "gru_vjp",
    "lstm",
    "lstm_vjp",
    "rnn",
    "rnn_vjp",
    "run",
    "run_vjp",
]


def run(
    cell: str,
    x: Array,
    state: State,
    W_ax: Array,
    W_aa: Array,
    b_a: Array | None = None,
    b_aa: Array | None = None,
    *,
    peephole: Array | None = None,
    lengths: Lengths | None = None,
    reverse: bool = False,
    out: Array | None = None,
    **reserved: Any,
) -> tuple[Array, Any]:
    """Run any cell of the registry by its name, such as ``"lstm"`` or ``"rnn_tanh"``.

    Parameters
    ----------
    cell : str
        A name of ``rnnfast.reference.CELLS``.
    x : ndarray, (T, B, I)
        The input. Any strides.
    state : ndarray (B, H), tuple of two of them, or None
        The initial state: ``a0``, or ``(a0, c0)`` for a cell with two states. None, whole or in
        part, is zero.
    W_ax, W_aa : ndarray, (G*H, I) and (G*H, H)
        Weights, gate after gate.
    b_a, b_aa : ndarray (G*H,), optional
        Biases.
    peephole : ndarray (P, H), optional
        Per-unit parameters of a cell that has them.
    lengths : sequence of int (B,), optional
        Length of each sequence, 0 to T. Past its end ``a`` is 0, and its final state is the one at
        its end; in reverse it starts there.
    reverse : bool, default False
        Run from the last step to the first; ``a`` stays aligned with ``x``.
    out : ndarray (T, B, H), optional
        Where to write ``a``. Any strides.
    **reserved
        Names kept for later versions; none may be given.

    Returns
    -------
    a : ndarray, (T, B, H)
        The output of every step; `out` if it was given.
    state : ndarray (B, H) or tuple of two
        The final state, of the same kind as the cell's initial state.

    Raises
    ------
    TypeError
        An argument is not an array of float32 or float64, or not of `x`'s dtype, or lengths are not
        integers, or `state` is of another cell's kind.
    ValueError
        A shape or a value does not fit, or `cell` is unknown.
    """
    if reserved:
        refuse(reserved)
    return _rnnfast.run(cell, x, state, W_ax, W_aa, b_a, b_aa, peephole, lengths, reverse, out)


def run_vjp(
    cell: str,
    x: Array,
    state: State,
    W_ax: Array,
    W_aa: Array,
    b_a: Array | None = None,
    b_aa: Array | None = None,
    *,
    peephole: Array | None = None,
    lengths: Lengths | None = None,
    reverse: bool = False,
    out: Array | None = None,
    checkpoint: bool = False,
    **reserved: Any,
) -> tuple[Array, Any, Pullback]:
    """Run a cell as `run` does, and return also its pullback.

    Parameters
    ----------
    cell, x, state, W_ax, W_aa, b_a, b_aa, peephole, lengths, reverse, out, **reserved
        As in `run`.
    checkpoint : bool, default False
        Keep states only every ``sqrt(T)`` steps and recompute the rest when going back: less memory
        for about a third more time.

    Returns
    -------
    a, state
        As in `run`.
    pullback : callable
        ``pullback(da=None, dstate=None, *, retain=False, skip=())`` returns a dict of gradients,
        given those of `a` and of the final state (None: zero). Its keys are the names of the
        arguments: x, a0, c0, W_ax, W_aa, b_a, b_aa, peephole, less the biases that were None and
        the names in `skip`. It gives up its memory, so a second call is a RuntimeError, unless
        ``retain=True``. It refers to `x` and the weights, which must not change in between.

    Raises
    ------
    TypeError, ValueError
        As in `run`.

    References
    ----------
    Werbos, "Backpropagation through time: what it does and how to do it", 1990.
    """
    if reserved:
        refuse(reserved)
    return _rnnfast.run_vjp(
        cell, x, state, W_ax, W_aa, b_a, b_aa,
        peephole, lengths, reverse, out, True, checkpoint,
    )  # fmt: skip


_wrappers = Wrappers(
    _rnnfast.run, _rnnfast.run_vjp, {cell["name"]: None for cell in _rnnfast.cells()}
)
rnn, rnn_vjp = _wrappers.rnn, _wrappers.rnn_vjp
lstm, lstm_vjp = _wrappers.lstm, _wrappers.lstm_vjp
gru, gru_vjp = _wrappers.gru, _wrappers.gru_vjp

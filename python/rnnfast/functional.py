"""One recurrent layer in one direction, as pure functions of its arrays.

The letters are those of the maths: ``T`` steps, ``B`` sequences, ``I`` inputs, ``H`` hidden units,
``G`` gates. ``x`` is ``(T, B, I)``, ``a`` is ``(T, B, H)``, ``W_ax`` ``(G*H, I)``, ``W_aa``
``(G*H, H)``, ``b_a`` and ``b_aa`` ``(G*H,)``, states ``(B, H)``. All arrays of a call have one
dtype, float32 or float64. `rnnfast.reference` has the same functions in plain NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rnnfast import _rnnfast

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

Array: TypeAlias = npt.NDArray[Any]
State: TypeAlias = Array | tuple[Array | None, Array | None] | None
Lengths: TypeAlias = Sequence[int] | npt.NDArray[np.integer[Any]] | None
Pullback: TypeAlias = _rnnfast.Pullback

# Keyword arguments whose names are taken for later versions.
RESERVED = frozenset(
    {
        "activations",
        "activation_alpha",
        "activation_beta",
        "clip",
        "input_forget",
        "W_ra",
        "resets",
    }
)
G1 = ("tanh", "relu", "sigmoid", "identity")
RESETS = ("after", "before")


def _refuse(reserved: dict[str, Any]) -> None:
    for name in reserved:
        if name in RESERVED:
            raise ValueError(f"{name} is reserved for a later version and not supported yet")
        raise TypeError(f"unexpected keyword argument {name!r}")


def _variant(cell: str, option: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{option} is {value!r}, expected one of {', '.join(choices)}")
    return f"{cell}_{value}"


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
    lengths: Lengths = None,
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
        _refuse(reserved)
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
    lengths: Lengths = None,
    reverse: bool = False,
    out: Array | None = None,
    checkpoint: bool = False,
    **reserved: Any,
) -> tuple[Array, Any, Pullback]:
    """Run a cell as `run` does, and return also its pullback.

    Parameters
    ----------
    cell, x, state, W_ax, W_aa, b_a, b_aa, peephole, lengths, reverse, out
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
    """
    if reserved:
        _refuse(reserved)
    return _rnnfast.run_vjp(
        cell, x, state, W_ax, W_aa, b_a, b_aa,
        peephole, lengths, reverse, out, True, checkpoint,
    )  # fmt: skip


def rnn(
    x: Array,
    a0: Array | None,
    W_ax: Array,
    W_aa: Array,
    b_a: Array | None = None,
    b_aa: Array | None = None,
    *,
    g1: str = "tanh",
    lengths: Lengths = None,
    reverse: bool = False,
    out: Array | None = None,
    **reserved: Any,
) -> tuple[Array, Array]:
    """Plain recurrent layer: ``a<t> = g1(W_ax x<t> + b_a + W_aa a<t-1> + b_aa)``.

    Parameters
    ----------
    g1 : {"tanh", "relu", "sigmoid", "identity"}
        The activation.
    x, a0, W_ax, W_aa, b_a, b_aa, lengths, reverse, out
        As in `run`; G is 1.

    Returns
    -------
    a : ndarray, (T, B, H)
    a_T : ndarray, (B, H)
    """
    if reserved:
        _refuse(reserved)
    cell = _variant("rnn", "g1", g1, G1)
    return _rnnfast.run(cell, x, a0, W_ax, W_aa, b_a, b_aa, None, lengths, reverse, out)


def rnn_vjp(
    x: Array,
    a0: Array | None,
    W_ax: Array,
    W_aa: Array,
    b_a: Array | None = None,
    b_aa: Array | None = None,
    *,
    g1: str = "tanh",
    lengths: Lengths = None,
    reverse: bool = False,
    out: Array | None = None,
    checkpoint: bool = False,
    **reserved: Any,
) -> tuple[Array, Array, Pullback]:
    """`rnn` with its pullback; returns what `run_vjp` does.

    Parameters
    ----------
    x, a0, W_ax, W_aa, b_a, b_aa, g1, lengths, reverse, out, checkpoint
        As in `rnn` and `run_vjp`.
    """
    if reserved:
        _refuse(reserved)
    cell = _variant("rnn", "g1", g1, G1)
    return _rnnfast.run_vjp(
        cell, x, a0, W_ax, W_aa, b_a, b_aa, None, lengths, reverse, out, True, checkpoint
    )


def lstm(
    x: Array,
    state: State,
    W_ax: Array,
    W_aa: Array,
    b_a: Array | None = None,
    b_aa: Array | None = None,
    *,
    peephole: Array | None = None,
    lengths: Lengths = None,
    reverse: bool = False,
    out: Array | None = None,
    **reserved: Any,
) -> tuple[Array, tuple[Array, Array]]:
    """Long short-term memory, gates in the order i f g o.

    ::

        i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o);  g = tanh(z_g)
        c<t> = f c<t-1> + i g;  a<t> = o tanh(c<t>)

    with ``z = W_ax x<t> + b_a + W_aa a<t-1> + b_aa``; with `peephole` (rows i f o) z_i and z_f see
    also ``c<t-1>`` and z_o sees ``c<t>``, unit by unit.

    Parameters
    ----------
    peephole : ndarray (3, H), optional
        Peephole weights.
    x, state, W_ax, W_aa, b_a, b_aa, lengths, reverse, out
        As in `run`; G is 4 and `state` is ``(a0, c0)``.

    Returns
    -------
    a : ndarray, (T, B, H)
    (a_T, c_T) : tuple of ndarray, (B, H) each

    References
    ----------
    Hochreiter & Schmidhuber, "Long short-term memory", 1997; Gers, Schmidhuber & Cummins,
    "Learning to forget", 2000, section 3; Gers & Schmidhuber, "Recurrent nets that time and
    count", 2000, section 2.
    """
    if reserved:
        _refuse(reserved)
    cell = "lstm" if peephole is None else "lstm_peephole"
    return _rnnfast.run(cell, x, state, W_ax, W_aa, b_a, b_aa, peephole, lengths, reverse, out)


def lstm_vjp(
    x: Array,
    state: State,
    W_ax: Array,
    W_aa: Array,
    b_a: Array | None = None,
    b_aa: Array | None = None,
    *,
    peephole: Array | None = None,
    lengths: Lengths = None,
    reverse: bool = False,
    out: Array | None = None,
    checkpoint: bool = False,
    **reserved: Any,
) -> tuple[Array, tuple[Array, Array], Pullback]:
    """`lstm` with its pullback; returns what `run_vjp` does.

    Parameters
    ----------
    x, state, W_ax, W_aa, b_a, b_aa, peephole, lengths, reverse, out, checkpoint
        As in `lstm` and `run_vjp`.
    """
    if reserved:
        _refuse(reserved)
    cell = "lstm" if peephole is None else "lstm_peephole"
    return _rnnfast.run_vjp(
        cell, x, state, W_ax, W_aa, b_a, b_aa, peephole, lengths, reverse, out, True, checkpoint
    )


def gru(
    x: Array,
    a0: Array | None,
    W_ax: Array,
    W_aa: Array,
    b_a: Array | None = None,
    b_aa: Array | None = None,
    *,
    reset: str = "after",
    lengths: Lengths = None,
    reverse: bool = False,
    out: Array | None = None,
    **reserved: Any,
) -> tuple[Array, Array]:
    """Gated recurrent unit, gates in the order r z n.

    ::

        r, z = sigmoid(z_r), sigmoid(z_z)
        n = tanh(W_ax,n x<t> + b_a,n + r (W_aa,n a<t-1> + b_aa,n))     reset="after"
        n = tanh(W_ax,n x<t> + b_a,n + W_aa,n (r a<t-1>) + b_aa,n)     reset="before"
        a<t> = (1 - z) n + z a<t-1>

    Parameters
    ----------
    reset : {"after", "before"}
        Whether r acts on the product (PyTorch, cuDNN) or on the state (the paper).
    x, a0, W_ax, W_aa, b_a, b_aa, lengths, reverse, out
        As in `run`; G is 3.

    Returns
    -------
    a : ndarray, (T, B, H)
    a_T : ndarray, (B, H)

    References
    ----------
    Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014, section 2.3.
    """
    if reserved:
        _refuse(reserved)
    cell = _variant("gru", "reset", reset, RESETS)
    return _rnnfast.run(cell, x, a0, W_ax, W_aa, b_a, b_aa, None, lengths, reverse, out)


def gru_vjp(
    x: Array,
    a0: Array | None,
    W_ax: Array,
    W_aa: Array,
    b_a: Array | None = None,
    b_aa: Array | None = None,
    *,
    reset: str = "after",
    lengths: Lengths = None,
    reverse: bool = False,
    out: Array | None = None,
    checkpoint: bool = False,
    **reserved: Any,
) -> tuple[Array, Array, Pullback]:
    """`gru` with its pullback; returns what `run_vjp` does.

    Parameters
    ----------
    x, a0, W_ax, W_aa, b_a, b_aa, reset, lengths, reverse, out, checkpoint
        As in `gru` and `run_vjp`.
    """
    if reserved:
        _refuse(reserved)
    cell = _variant("gru", "reset", reset, RESETS)
    return _rnnfast.run_vjp(
        cell, x, a0, W_ax, W_aa, b_a, b_aa, None, lengths, reverse, out, True, checkpoint
    )

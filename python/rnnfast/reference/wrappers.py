"""`run` and `run_vjp` under each cell's own name, with its own options."""

from typing import Any

from numpy.typing import ArrayLike

from .cell import CELLS, Array
from .checks import State, refuse
from .functional import Pullback, run, run_vjp


def _variant(family: str, option: str, value: str) -> str:
    """The registry's name of a variant, as in "gru_after"."""
    variants = [name.removeprefix(family) for name in CELLS if name.startswith(family)]
    if value not in variants:
        raise ValueError(f"{option} is {value!r}, expected one of {', '.join(variants)}")
    return family + value


def _lstm(peephole: Array | None) -> str:
    return "lstm" if peephole is None else "lstm_peephole"


def rnn(
    x: Array,
    a0: Array | None,
    W_ax: Array,
    W_aa: Array,
    b_a: Array | None = None,
    b_aa: Array | None = None,
    *,
    g1: str = "tanh",
    lengths: ArrayLike | None = None,
    reverse: bool = False,
    out: Array | None = None,
    **reserved: Any,
) -> tuple[Array, Array]:
    """a = g1(W_aa a_prev + W_ax x + b_a + b_aa), g1 tanh, relu, sigmoid or identity; see `run`."""
    refuse(reserved)
    cell = _variant("rnn_", "g1", g1)
    return run(cell, x, a0, W_ax, W_aa, b_a, b_aa, lengths=lengths, reverse=reverse, out=out)


def rnn_vjp(
    x: Array,
    a0: Array | None,
    W_ax: Array,
    W_aa: Array,
    b_a: Array | None = None,
    b_aa: Array | None = None,
    *,
    g1: str = "tanh",
    lengths: ArrayLike | None = None,
    reverse: bool = False,
    out: Array | None = None,
    checkpoint: bool = False,
    **reserved: Any,
) -> tuple[Array, Array, Pullback]:
    """`rnn` and its pullback; see `run_vjp`."""
    refuse(reserved)
    cell = _variant("rnn_", "g1", g1)
    return run_vjp(
        cell, x, a0, W_ax, W_aa, b_a, b_aa,
        lengths=lengths, reverse=reverse, out=out, checkpoint=checkpoint,
    )  # fmt: skip


def lstm(
    x: Array,
    state: State,
    W_ax: Array,
    W_aa: Array,
    b_a: Array | None = None,
    b_aa: Array | None = None,
    *,
    peephole: Array | None = None,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
    out: Array | None = None,
    **reserved: Any,
) -> tuple[Array, tuple[Array, Array]]:
    """c = f c_prev + i g; a = o tanh(c), optionally with peephole (3, H), rows i f o; see `run`."""
    refuse(reserved)
    cell = _lstm(peephole)
    return run(
        cell, x, state, W_ax, W_aa, b_a, b_aa, peephole=peephole,
        lengths=lengths, reverse=reverse, out=out,
    )  # fmt: skip


def lstm_vjp(
    x: Array,
    state: State,
    W_ax: Array,
    W_aa: Array,
    b_a: Array | None = None,
    b_aa: Array | None = None,
    *,
    peephole: Array | None = None,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
    out: Array | None = None,
    checkpoint: bool = False,
    **reserved: Any,
) -> tuple[Array, tuple[Array, Array], Pullback]:
    """`lstm` and its pullback; see `run_vjp`."""
    refuse(reserved)
    cell = _lstm(peephole)
    return run_vjp(
        cell, x, state, W_ax, W_aa, b_a, b_aa, peephole=peephole,
        lengths=lengths, reverse=reverse, out=out, checkpoint=checkpoint,
    )  # fmt: skip


def gru(
    x: Array,
    a0: Array | None,
    W_ax: Array,
    W_aa: Array,
    b_a: Array | None = None,
    b_aa: Array | None = None,
    *,
    reset: str = "after",
    lengths: ArrayLike | None = None,
    reverse: bool = False,
    out: Array | None = None,
    **reserved: Any,
) -> tuple[Array, Array]:
    """a = (1-z) n + z a_prev; reset "after" or "before" the product of n; see `run`."""
    refuse(reserved)
    cell = _variant("gru_", "reset", reset)
    return run(cell, x, a0, W_ax, W_aa, b_a, b_aa, lengths=lengths, reverse=reverse, out=out)


def gru_vjp(
    x: Array,
    a0: Array | None,
    W_ax: Array,
    W_aa: Array,
    b_a: Array | None = None,
    b_aa: Array | None = None,
    *,
    reset: str = "after",
    lengths: ArrayLike | None = None,
    reverse: bool = False,
    out: Array | None = None,
    checkpoint: bool = False,
    **reserved: Any,
) -> tuple[Array, Array, Pullback]:
    """`gru` and its pullback; see `run_vjp`."""
    refuse(reserved)
    cell = _variant("gru_", "reset", reset)
    return run_vjp(
        cell, x, a0, W_ax, W_aa, b_a, b_aa,
        lengths=lengths, reverse=reverse, out=out, checkpoint=checkpoint,
    )  # fmt: skip

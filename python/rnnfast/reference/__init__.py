"""The layers in pure NumPy: what every number of the kernels is measured against.

It reads like the equations, is as slow as they are, and also runs forwards in complex numbers, so
that the complex step can differentiate it. The functions are those of `rnnfast.functional`.
"""

from typing import Any

from ..wrappers import Wrappers
from . import cells as cells
from .cell import CELLS
from .functional import run, run_vjp

__all__ = [
    "CELLS",
    "gru",
    "gru_vjp",
    "lstm",
    "lstm_vjp",
    "rnn",
    "rnn_vjp",
    "run",
    "run_vjp",
]


def _run(*args: Any) -> Any:
    peephole, lengths, reverse, out = args[7:]
    return run(*args[:7], peephole=peephole, lengths=lengths, reverse=reverse, out=out)


def _run_vjp(*args: Any) -> Any:
    peephole, lengths, reverse, out, _, checkpoint = args[7:]
    options = {"lengths": lengths, "reverse": reverse, "out": out, "checkpoint": checkpoint}
    return run_vjp(*args[:7], peephole=peephole, **options)


_wrappers = Wrappers(_run, _run_vjp, CELLS)
rnn, rnn_vjp = _wrappers.rnn, _wrappers.rnn_vjp
lstm, lstm_vjp = _wrappers.lstm, _wrappers.lstm_vjp
gru, gru_vjp = _wrappers.gru, _wrappers.gru_vjp

"""Recurrent neural networks on CPUs, fast: fused SIMD kernels with a NumPy interface.

`LSTM`, `GRU` and `RNN` are layers with PyTorch's parameters; `functional` has the same cells as
functions of arrays, and `reference` the same functions in pure NumPy.
"""

from typing import TYPE_CHECKING, Any

from . import functional, gates, init, layers, losses, optim, schedules
from ._version import __version__ as __version__
from .config import num_threads, set_num_threads, show_config, threads
from .layers import GRU, LSTM, RNN, Dense, Dropout, Embedding, Group, Sequential
from .params import Params
from .ragged import pad
from .row_gradient import RowGradient

if TYPE_CHECKING:
    from . import io, reference

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Dense",
    "Dropout",
    "Embedding",
    "Group",
    "Params",
    "RowGradient",
    "Sequential",
    "functional",
    "gates",
    "init",
    "io",
    "layers",
    "losses",
    "num_threads",
    "optim",
    "pad",
    "reference",
    "schedules",
    "set_num_threads",
    "show_config",
    "threads",
]

_LAZY = ("io", "reference")  # not needed by every program


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_LAZY))

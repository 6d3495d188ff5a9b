"""Threads, and what this installation runs on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import _check, _rnnfast
from ._version import __version__

__all__ = ["num_threads", "set_num_threads", "show_config", "threads"]


def set_num_threads(n: int) -> None:
    """Set the number of threads that a call may use, for the whole process.

    Parameters
    ----------
    n : int
        At least 1. A call takes part of them where it has less work, and no more than there are
        processors.
    """
    _rnnfast.set_num_threads(_check.integer("n", n, 1))


def num_threads() -> int:
    """Return the number of threads that a call may use.

    At first it is RNNFAST_NUM_THREADS, OMP_NUM_THREADS, or the cores that this process may use,
    in this order, and not more than the cores; what is no positive number is passed over.
    """
    return _rnnfast.num_threads()


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Set the number of threads inside a ``with`` block, for the whole process.

    Parameters
    ----------
    n : int
        At least 1.
    """
    before = num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Print what this installation runs on, or return it.

    Parameters
    ----------
    mode : str
        ``"stdout"`` prints; ``"dicts"`` returns a dictionary.

    Returns
    -------
    config : dict or None
        Versions, the instruction set in use and those this machine has, threads, cells.
    """
    mode = _check.choice("mode", mode, ("stdout", "dicts"))
    from platform import machine, python_version, system

    config = {
        "rnnfast": __version__,
        "numpy": np.__version__,
        "python": python_version(),
        "machine": f"{system()} {machine()}",
        "isa": _rnnfast.isa(),
        "isas": list(_rnnfast.isas()),
        "threads": num_threads(),
        "cells": [cell["name"] for cell in _rnnfast.cells()],
    }
    if mode == "dicts":
        return config
    for key, value in config.items():
        print(f"{key + ':':<9}{', '.join(value) if isinstance(value, list) else value}")
    return None

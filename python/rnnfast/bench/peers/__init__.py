"""The programs that are compared, one file each, which imports its framework.

Each file has a function ``build(case, data, threads) -> Program``; what a program has before it
is timed, such as packed weights or a compiled function, is what its users keep between calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import rnnfast
from rnnfast._check import Array

from ..cases import Case, Data

OWN = ("rnnfast", "frozen", "checkpoint")
SINGLE = "single"  # rnnfast on one thread; of a stack or of two directions, one layer in one
PEERS = ("torch", "onnxruntime", "jax")
REFERENCE = "numpy"
PROGRAMS = (*OWN, SINGLE, *PEERS, REFERENCE)
USUAL = ("rnnfast", "frozen", *PEERS, REFERENCE)
STACKED = ("rnnfast", "frozen", SINGLE, "torch", "onnxruntime")

# The file and the function that build each.
_BUILDERS = {
    "rnnfast": ("ours", "build"),
    "frozen": ("ours", "build_frozen"),
    "checkpoint": ("ours", "build_checkpoint"),
    "single": ("ours", "build_single"),
    "torch": ("pytorch", "build"),
    "onnxruntime": ("onnx_runtime", "build"),
    "jax": ("jax_scan", "build"),
    "numpy": ("reference", "build"),
}
# The functional names of a layer's parameters, by the stem of PyTorch's.
_WEIGHTS = {
    "weight_ih": "W_ax",
    "weight_hh": "W_aa",
    "bias_ih": "b_a",
    "bias_hh": "b_aa",
    "weight_peephole": "peephole",
}


class Unavailable(Exception):
    """A program cannot run a case; the message says why."""


@dataclass(frozen=True)
class Program:
    """A case made ready to run.

    call : what is timed; it does the whole work and waits until it is done
    results : what `call` returned as float arrays by name: y, a_T, c_T, and with BPTT dx, da0, dc0
        and d<parameter>; of a model loss and norm
    before : what makes the process ready for calls, after other programs have run
    """

    call: Callable[[], Any]
    results: Callable[[Any], dict[str, Array]]
    before: Callable[[], None] = lambda: None


def usual(case: Case) -> tuple[str, ...]:
    """Return the programs that a case is timed with unless others are asked for."""
    return STACKED if case.kind in ("stacks", "directions") else USUAL


def build(name: str, case: Case, data: Data, threads: int) -> Program:
    """Make the program `name` ready for a case.

    Raises
    ------
    Unavailable
        Its package is not installed, it has no such case, or it fails.
    """
    file, function = _BUILDERS[name]
    try:
        module = import_module(f"{__name__}.{file}")
        program: Program = getattr(module, function)(case, data, threads)
    except ModuleNotFoundError as error:
        raise Unavailable(f"{error.name} is not installed") from error
    return program


def versions() -> dict[str, str]:
    """Return the version of each program's package that is installed."""
    found = {"rnnfast": rnnfast.__version__}
    for package in (*PEERS, REFERENCE):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def named(
    y: Array,
    state: tuple[Array, ...],
    dx: Array | None = None,
    dstate: tuple[Array, ...] = (),
    dparams: dict[str, Array] | None = None,
) -> dict[str, Array]:
    """Give the arrays of a case the names of `Program.results`."""
    results = {"y": y} | dict(zip(("a_T", "c_T"), state, strict=False))
    if dx is not None:
        results["dx"] = dx
    results |= dict(zip(("da0", "dc0"), dstate, strict=False))
    return results | {f"d{name}": grad for name, grad in (dparams or {}).items()}


def weights(params: dict[str, Array], suffix: str) -> dict[str, Array]:
    """Return the parameters of one layer and direction by their functional names."""
    return {w: params[s + suffix] for s, w in _WEIGHTS.items() if s + suffix in params}


def named_grads(grads: dict[str, Array], suffix: str) -> dict[str, Array]:
    """Undo `weights` for the gradients of a functional pullback."""
    return {s + suffix: grads[w] for s, w in _WEIGHTS.items() if w in grads}

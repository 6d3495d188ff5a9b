"""The NumPy reference: what the others' results are compared with, in float64."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

from rnnfast._check import Array
from rnnfast.reference import run, run_vjp

from ..cases import LEARNING_RATE, MAX_NORM, TRAINING, Case, Data
from . import Program, Unavailable, named, named_grads, weights

State = tuple[Array, ...]


def build(case: Case, data: Data, threads: int) -> Program:
    """Make the reference ready; its threads are those of NumPy's BLAS."""
    _pin(threads)
    if case.kind == "model":
        model = _Model(case, data)
        return Program(model.step, lambda result: result)
    if case.kind == "stream":
        state = data.state

        def step() -> tuple[Array, State]:
            nonlocal state
            y, state = _forward(case, data, state)
            return y, state

        return Program(step, lambda result: named(*result))
    if case.mode == TRAINING:
        return Program(lambda: _training(case, data), lambda result: named(*result))
    return Program(lambda: _forward(case, data, data.state), lambda result: named(*result))


def _pin(threads: int) -> None:
    if threads == os.cpu_count():
        return
    try:
        threadpoolctl: Any = import_module("threadpoolctl")
    except ModuleNotFoundError as error:
        raise Unavailable("needs threadpoolctl to set the threads of BLAS") from error
    threadpoolctl.threadpool_limits(threads, "blas")


def _arguments(case: Case, data: Data, k: int, state: State) -> dict[str, Any]:
    """The arguments of layer and direction number k but for the cell and x."""
    parts = tuple(part[k] for part in state)
    return {
        "state": parts if len(parts) > 1 else parts[0],
        "lengths": data.lengths,
        "reverse": k % case.directions == 1,
        **weights(data.params, case.suffixes[k]),
    }


def _stack(parts: list[Any]) -> State:
    """Join the states of all layers and directions."""
    tuples = [part if isinstance(part, tuple) else (part,) for part in parts]
    return tuple(np.stack(halves) for halves in zip(*tuples, strict=True))


def _forward(case: Case, data: Data, state: State) -> tuple[Array, State]:
    x, ends, D = data.x, [], case.directions
    for first in range(0, case.layers * D, D):
        outputs = []
        for k in range(first, first + D):
            a, end = run(case.cell, x, **_arguments(case, data, k, state))
            outputs.append(a)
            ends.append(end)
        x = np.concatenate(outputs, axis=2)
    return x, _stack(ends)


def _forward_vjp(case: Case, data: Data) -> tuple[Array, State, list[Any]]:
    """As `_forward`, with the pullback of each layer and direction."""
    x, ends, pullbacks, D = data.x, [], [], case.directions
    for first in range(0, case.layers * D, D):
        outputs = []
        for k in range(first, first + D):
            a, end, pullback = run_vjp(case.cell, x, **_arguments(case, data, k, data.state))
            outputs.append(a)
            ends.append(end)
            pullbacks.append(pullback)
        x = np.concatenate(outputs, axis=2)
    return x, _stack(ends), pullbacks


def _backward(case: Case, dy: Array, pullbacks: list[Any]) -> tuple[Array, State, dict[str, Array]]:
    """Differentiate `_forward_vjp`: dx, dstate and the gradients of the parameters."""
    D, H = case.directions, case.H
    dstates: list[Any] = [None] * len(pullbacks)
    dparams: dict[str, Array] = {}
    for first in reversed(range(0, case.layers * D, D)):
        dx = 0
        for k in range(first, first + D):
            grads = pullbacks[k](dy[:, :, H * (k - first) :][:, :, :H])
            dx = dx + grads["x"]
            dstates[k] = tuple(grads[name] for name in ("a0", "c0") if name in grads)
            dparams |= named_grads(grads, case.suffixes[k])
        dy = np.asarray(dx)
    return dy, _stack(dstates), dparams


def _training(case: Case, data: Data) -> tuple[Array, State, Array, State, dict[str, Array]]:
    y, state, pullbacks = _forward_vjp(case, data)
    return y, state, *_backward(case, data.dy, pullbacks)


class _Model:
    """A recurrent layer and a dense one, trained by Adam [1]_ on clipped gradients.

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """

    def __init__(self, case: Case, data: Data) -> None:
        dtype = data.params["bias"].dtype.name
        self.case, self.data = case, data.astype(dtype)  # a copy: it is trained
        self.m = {name: np.zeros_like(p) for name, p in data.params.items()}
        self.v = {name: np.zeros_like(p) for name, p in data.params.items()}
        self.steps = 0

    def step(self) -> dict[str, Array]:
        data, params, target = self.data, self.data.params, self.data.target
        words = self.case.vocabulary > 0
        read = replace(data, x=params["embedding"][data.x]) if words else data
        y, _, pullbacks = _forward_vjp(self.case, read)
        logits = y @ params["weight"].T + params["bias"]
        logits -= logits.max(axis=2, keepdims=True)
        log_softmax = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
        at = target[:, :, None]
        loss = -np.take_along_axis(log_softmax, at, axis=2).sum() / self.case.B
        dlogits = np.exp(log_softmax)
        np.put_along_axis(dlogits, at, np.take_along_axis(dlogits, at, axis=2) - 1, axis=2)
        dlogits /= self.case.B
        dx, _, grads = _backward(self.case, dlogits @ params["weight"], pullbacks)
        if words:
            grads["embedding"] = np.zeros_like(params["embedding"])
            np.add.at(grads["embedding"], data.x, dx)
        grads["weight"] = np.tensordot(dlogits, y, axes=([0, 1], [0, 1]))
        grads["bias"] = dlogits.sum(axis=(0, 1))
        norm = np.sqrt(sum((grad * grad).sum() for grad in grads.values()))
        self._adam(grads, min(1.0, MAX_NORM / norm))
        return {"loss": np.asarray(loss), "norm": np.asarray(norm)}

    def _adam(self, grads: dict[str, Array], scale: float) -> None:
        beta1, beta2, eps = 0.9, 0.999, 1e-8
        self.steps += 1
        for name, p in self.data.params.items():
            g, m, v = scale * grads[name], self.m[name], self.v[name]
            m += (1 - beta1) * (g - m)
            v += (1 - beta2) * (g * g - v)
            m_hat, v_hat = m / (1 - beta1**self.steps), v / (1 - beta2**self.steps)
            p -= LEARNING_RATE * m_hat / (np.sqrt(v_hat) + eps)

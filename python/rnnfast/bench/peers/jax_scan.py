"""JAX: jit of lax.scan over the recurrent half of a step, the product with x taken out of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

from rnnfast._check import Array

from ..cases import FORWARD, Case, Data
from . import Program, Unavailable, named, weights

jax: Any = import_module("jax")
jnp: Any = import_module("jax.numpy")

State: TypeAlias = tuple[Any, ...]
Params: TypeAlias = dict[str, Any]

_POOL = "PJRT_NPROC"  # the number of threads of JAX's pool, read when its backend starts


def build(case: Case, data: Data, threads: int) -> Program:
    """Compile the case."""
    if case.kind == "model":
        raise Unavailable("jax has no optimiser of its own")
    if case.cell not in _STEPS:
        raise Unavailable("no such cell written in jax")
    _pin(threads)
    jax.config.update("jax_enable_x64", True)
    given = jax.device_put((data.params, data.x, data.state))
    lengths = None if data.lengths is None else jnp.asarray(data.lengths)
    forward = partial(_forward, case, lengths)
    if case.kind == "stream":
        return _stream(jax.jit(forward), *given)
    if case.mode == FORWARD:
        run = jax.jit(forward)
        return Program(lambda: jax.block_until_ready(run(*given)), lambda r: named(*_arrays(r)))

    def training(given: Any, dy: Any) -> Any:
        (y, end), pullback = jax.vjp(forward, *given)
        return y, end, *pullback((dy, tuple(map(jnp.zeros_like, end))))

    def results(result: Any) -> dict[str, Array]:
        y, end, dparams, dx, dstate = _arrays(result)
        return named(y, end, dx, dstate, dparams)

    train, dy = jax.jit(training), jax.device_put(data.dy)
    return Program(lambda: jax.block_until_ready(train(given, dy)), results)


def _pin(threads: int) -> None:
    if os.environ.setdefault(_POOL, str(threads)) != str(threads):
        raise Unavailable(f"jax already runs with {os.environ[_POOL]} threads")


def _arrays(tree: Any) -> Any:
    return jax.tree_util.tree_map(np.asarray, tree)


def _stream(step: Callable[..., Any], params: Params, x: Any, state: State) -> Program:
    def call() -> Any:
        nonlocal state
        y, state = jax.block_until_ready(step(params, x, state))
        return y, state

    return Program(call, lambda result: named(*_arrays(result)))


def _forward(case: Case, lengths: Any, params: Params, x: Any, state: State) -> tuple[Any, State]:
    """All layers and directions: y (T, B, D*H) and the final states (L*D, B, H)."""
    ends, D = [], case.directions
    for first in range(0, case.layers * D, D):
        outputs = []
        for k in range(first, first + D):
            y, end = _layer(
                _STEPS[case.cell],
                weights(params, case.suffixes[k]),
                x,
                tuple(part[k] for part in state),
                lengths,
                reverse=k > first,
            )
            outputs.append(y)
            ends.append(end)
        x = jnp.concatenate(outputs, axis=2) if D > 1 else outputs[0]
    return x, tuple(jnp.stack(parts) for parts in zip(*ends, strict=True))


def _layer(
    step: Callable[..., State], p: Params, x: Any, state: State, lengths: Any, reverse: bool
) -> tuple[Any, State]:
    products = x @ p["W_ax"].T + p["b_a"]

    def body(state: State, xs: Any) -> tuple[State, Any]:
        t, x_t = xs
        new = step(p, x_t, state)
        if lengths is None:
            return new, new[0]
        inside = (t < lengths)[:, None]
        kept = tuple(jnp.where(inside, n, s) for n, s in zip(new, state, strict=True))
        return kept, jnp.where(inside, new[0], 0)

    state, y = jax.lax.scan(body, state, (jnp.arange(x.shape[0]), products), reverse=reverse)
    return y, state


def _rnn(g1: Callable[[Any], Any]) -> Callable[..., State]:
    return lambda p, x, state: (g1(x + state[0] @ p["W_aa"].T + p["b_aa"]),)


def _lstm(p: Params, x: Any, state: State) -> State:
    a_prev, c_prev = state
    i, f, g, o = jnp.split(x + a_prev @ p["W_aa"].T + p["b_aa"], 4, axis=1)
    c = jax.nn.sigmoid(f) * c_prev + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _gru(p: Params, x: Any, state: State) -> State:
    x_r, x_z, x_n = jnp.split(x, 3, axis=1)
    r_r, r_z, r_n = jnp.split(state[0] @ p["W_aa"].T + p["b_aa"], 3, axis=1)
    r, z = jax.nn.sigmoid(x_r + r_r), jax.nn.sigmoid(x_z + r_z)
    n = jnp.tanh(x_n + r * r_n)
    return ((1 - z) * n + z * state[0],)


_STEPS: dict[str, Callable[..., State]] = {
    "rnn_tanh": _rnn(jnp.tanh),
    "rnn_relu": _rnn(jax.nn.relu),
    "rnn_sigmoid": _rnn(jax.nn.sigmoid),
    "rnn_identity": _rnn(lambda z: z),
    "lstm": _lstm,
    "gru_after": _gru,
}

"""rnnfast: layers as its users call them, and a frozen layer."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import rnnfast
from rnnfast.layers import Recurrent

from ..cases import FORWARD, LEARNING_RATE, MAX_NORM, TRAINING, Case, Data
from . import Program, Unavailable, named


def build(case: Case, data: Data, threads: int, *, checkpoint: bool = False) -> Program:
    """Make rnnfast ready: nothing is kept between calls, except in a stream."""
    if case.kind == "stream":
        return _on(threads, _stream(case, data))
    if case.kind == "model":
        return _on(threads, _model(case, data, checkpoint))
    return _on(threads, _layer(case, data, checkpoint))


def build_single(case: Case, data: Data, threads: int) -> Program:
    """Make rnnfast ready on one thread, however many the others have."""
    return build(case, data, 1)


def build_checkpoint(case: Case, data: Data, threads: int) -> Program:
    """Make rnnfast ready to train with ``checkpoint=True``."""
    if case.mode != TRAINING:
        raise Unavailable("checkpoints serve training")
    return build(case, data, threads, checkpoint=True)


def build_frozen(case: Case, data: Data, threads: int) -> Program:
    """Make a layer ready whose weights are packed once."""
    if case.mode != FORWARD:
        raise Unavailable("freezing serves inference")
    layer = _recurrent(case, data)
    layer.freeze()
    return _on(threads, _steps(layer, data) if case.kind == "stream" else _inference(layer, data))


def _on(threads: int, program: Program) -> Program:
    """Return a program that has its number of threads, now and before each of its blocks."""
    rnnfast.set_num_threads(threads)
    return replace(program, before=partial(rnnfast.set_num_threads, threads))


def _recurrent(case: Case, data: Data) -> Recurrent:
    layer: Recurrent = Recurrent(
        case.cell,
        case.I,
        case.H,
        case.layers,
        bidirectional=case.directions == 2,
        dtype=case.dtype,
    )
    layer.load({name: data.params[name] for name in layer.params})
    return layer


def _state(data: Data) -> Any:
    return data.state if len(data.state) > 1 else data.state[0]


def _tuple(state: Any) -> tuple[Any, ...]:
    return state if isinstance(state, tuple) else (state,)


def _inference(layer: Recurrent, data: Data) -> Program:
    state = _state(data)
    return Program(
        lambda: layer(data.x, state, data.lengths),
        lambda result: named(result[0], _tuple(result[1])),
    )


def _steps(layer: Recurrent, data: Data) -> Program:
    """Single steps by calls of the layer, for what a stream is set against."""
    state = _state(data)

    def step() -> Any:
        nonlocal state
        y, state = layer(data.x, state)
        return y, state

    return Program(step, lambda result: named(result[0], _tuple(result[1])))


def _layer(case: Case, data: Data, checkpoint: bool) -> Program:
    layer, state = _recurrent(case, data), _state(data)
    if case.mode == FORWARD:
        return _inference(layer, data)

    def training() -> Any:
        y, end, pullback = layer.vjp(
            data.x, state, data.lengths, checkpoint=checkpoint, need_x=True
        )
        return y, end, pullback(data.dy)

    def results(result: Any) -> Any:
        y, end, (dx, dstate, grads) = result
        return named(y, _tuple(end), dx, _tuple(dstate), grads)

    return Program(training, results)


def _stream(case: Case, data: Data) -> Program:
    stream = _recurrent(case, data).stream(case.B)
    stream.state = _state(data)
    x_t = data.x[0]
    return Program(
        lambda: stream.step(x_t),
        lambda y_t: named(y_t[None], _tuple(stream.state)),
    )


def _model(case: Case, data: Data, checkpoint: bool) -> Program:
    assert case.mode == TRAINING
    layers = {
        "rnn": _recurrent(case, data),
        "dense": rnnfast.Dense(case.H, case.classes, dtype=case.dtype),
    }
    state = [_state(data), None]
    if case.vocabulary:
        embedding = rnnfast.Embedding(case.vocabulary, case.I, dtype=case.dtype)
        layers, state = {"embedding": embedding, **layers}, [None, *state]
    model = rnnfast.Sequential(**layers)
    model.load({_model_name(name): p for name, p in data.params.items()})
    adam = rnnfast.optim.Adam(model.params, lr=LEARNING_RATE)

    def training() -> tuple[float, float]:
        logits, _, pullback = model.vjp(data.x, tuple(state), checkpoint=checkpoint)
        loss, dlogits = rnnfast.losses.cross_entropy(logits, data.target)
        grads = pullback(dlogits).params
        norm = rnnfast.optim.clip_by_norm(grads, MAX_NORM)
        adam.step(grads)
        return loss, norm

    return Program(
        training, lambda result: {"loss": np.asarray(result[0]), "norm": np.asarray(result[1])}
    )


def _model_name(name: str) -> str:
    if name == "embedding":
        return "embedding.weight"
    return f"dense.{name}" if name in ("weight", "bias") else f"rnn.{name}"

"""A random call of a recurrent layer, compared with the reference, its stream and itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from layer_problems import MODES, LayerProblem, make_layer_problem, reference_results
from problems import assert_close, assert_same_bits
from rnnfast import Dense, Sequential
from rnnfast.layers import Recurrent
from rnnfast.reference import CELLS

from .space import (
    DTYPES,
    STEPS,
    Generator,
    Results,
    comparable,
    draw_cell,
    draw_lengths,
    draw_sizes,
    pick,
)
from .threads import use_threads


def draw(rng: Generator) -> LayerProblem:
    """A stack of any cell, in any mode."""
    cell, dtype = draw_cell(rng), pick(rng, DTYPES)
    T, B, I, H = draw_sizes(rng, CELLS[cell].gates, dtype)  # noqa: E741
    T = max(min(T, pick(rng, STEPS)), 1)
    layer: Recurrent = Recurrent(
        cell, I, H, pick(rng, (1, 1, 2, 3)), bias=rng.random() < 0.8,
        batch_first=bool(rng.integers(2)), bidirectional=bool(rng.integers(2)), dtype=dtype,
        rng=int(rng.integers(1 << 30)),
    )  # fmt: skip
    mode = pick(rng, MODES)
    B = 1 if "unbatched" in mode else B
    lengths = draw_lengths(rng, T, B) if "ragged" in mode else None
    seed = int(rng.integers(1 << 30))
    return make_layer_problem(layer, mode, seed, T=T, B=B, lengths=lengths)


def check(rng: Generator, say: Callable[[str], None]) -> None:
    """Draw a layer and a call of it, and check all that they promise."""
    problem, threads, checkpoint = draw(rng), pick(rng, (1, 2, 2, 5)), bool(rng.integers(2))
    lengths = None if problem.lengths is None else problem.lengths.tolist()
    say(
        f"{problem.layer!r} x={problem.x.shape} lengths={lengths}"
        f" return_sequence={problem.return_sequence} checkpoint={checkpoint} threads={threads}"
    )
    want = reference_results(problem)
    with use_threads(1):
        base = problem.vjp(checkpoint=checkpoint)
        call = problem.run()
    near = comparable(problem.layer.cell, base)
    assert_close(near, {name: want[name] for name in near}, problem.tolerance)
    assert_same_bits(call, {name: base[name] for name in call})
    with use_threads(threads):
        assert_same_bits(problem.vjp(checkpoint=checkpoint), base)
        assert_same_bits(problem.run(), call)
        frozen(problem, call)
        stream(rng, problem, want)


def frozen(problem: LayerProblem, call: Results) -> None:
    """A frozen layer gives the same, and with any number of threads the same bits."""
    problem.layer.freeze()
    results = problem.run()
    assert_close(results, call, problem.tolerance)
    with use_threads(1):
        assert_same_bits(problem.run(), results)
    problem.layer.unfreeze()
    assert_same_bits(problem.run(), call)


def stream(rng: Generator, problem: LayerProblem, want: Results) -> None:
    """Step by step, a stream gives what the layer gives for whole sequences."""
    layer = problem.layer
    whole = problem.lengths is None and problem.return_sequence and problem.x.ndim == 3
    if layer.bidirectional or not whole:
        return
    x, y = problem.x, want["y"]
    if layer.batch_first:
        x, y = x.swapaxes(0, 1), y.swapaxes(0, 1)
    B, I = x.shape[1:]  # noqa: E741
    head = Dense(layer.output_size, 3, batch_first=layer.batch_first, dtype=str(layer.dtype), rng=1)
    chain = Sequential(layer, head)
    steps, both = layer.stream(B), chain.stream(B)
    steps.state = problem.tree(problem.state)
    both.state = (problem.tree(problem.state), None)
    last = chain(problem.x, (problem.tree(problem.state), None))[0]
    last = last.swapaxes(0, 1) if layer.batch_first else last
    memory = np.full((B + 1, I), np.nan, x.dtype)  # x, and y where that is as wide, a row apart
    got, chained = [], []
    for x_t in x:
        first = int(rng.integers(2))
        memory[first : B + first] = x_t
        out = memory[1 - first : B + 1 - first] if layer.output_size == I else None
        chained.append(both.step(x_t))
        got.append(steps.step(memory[first : B + first], out).copy())
    finals = problem.named("state", steps.state)
    assert_close({"y": np.stack(got)} | finals,
                 {"y": y} | {name: want[name] for name in finals}, problem.tolerance)  # fmt: skip
    assert_close({"chain": np.stack(chained)}, {"chain": last}, 2 * problem.tolerance)

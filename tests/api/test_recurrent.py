"""Recurrent layers: every result against the reference composed by hand, and their properties."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import rnnfast
from layer_problems import (
    MODES,
    STACKS,
    B,
    H,
    I,
    LayerProblem,
    T,
    make_layer_problem,
    reference_results,
)
from problems import Array, assert_close, assert_same_bits, ragged
from rnnfast.layers import Recurrent
from rnnfast.reference import CELLS

every_cell = pytest.mark.parametrize("cell", CELLS)
every_stack = pytest.mark.parametrize("stack", STACKS)
every_mode = pytest.mark.parametrize("mode", MODES)


def make_layer(cell: str, stack: str, dtype: str = "float64", **options: Any) -> Recurrent:
    return Recurrent(cell, I, H, **(STACKS[stack] | options), dtype=dtype, rng=1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_mode
@every_stack
@every_cell
def test_values_and_gradients(cell: str, stack: str, mode: str, dtype: str) -> None:
    problem = make_layer_problem(make_layer(cell, stack, dtype), mode)
    want = reference_results(problem)
    got = problem.vjp()
    assert all(value.dtype == dtype for value in got.values())
    assert_close(got, want, problem.tolerance)


@every_mode
@every_stack
@every_cell
def test_a_call_gives_the_bits_of_vjp(cell: str, stack: str, mode: str) -> None:
    problem = make_layer_problem(make_layer(cell, stack, "float32"), mode)
    whole = problem.vjp()
    assert_same_bits(problem.run(), {name: whole[name] for name in problem.run()})


@every_mode
@every_stack
@every_cell
def test_frozen_gives_the_same_bits(cell: str, stack: str, mode: str) -> None:
    problem = make_layer_problem(make_layer(cell, stack, "float32"), mode)
    before, gradients = problem.run(), problem.vjp()
    problem.layer.freeze()
    assert_same_bits(problem.run(), before)
    assert_same_bits(problem.vjp(), gradients)


@pytest.mark.parametrize("T", [1, 2, 9])
@pytest.mark.parametrize("H", [70, 134, 210, 260])
@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru_after", "gru_before"])
def test_frozen_weights_serve_any_batch(cell: str, H: int, T: int) -> None:
    """They are packed once, before it is known how many rows will be divided into what groups."""
    layer = Recurrent(cell, 5, H, 2, rng=1)
    inputs = [np.random.default_rng(B).standard_normal((T, B, 5), "f4") for B in (1, 7, 9, 40)]
    want = [layer(x)[0] for x in inputs]
    layer.freeze()
    for x, y in zip(inputs, want, strict=True):
        assert_close({"y": layer(x)[0]}, {"y": y}, 1e-5)


def test_frozen_uses_its_packed_weights() -> None:
    """Writing past the protection, through a view made before, goes unnoticed until unfreeze."""
    problem = make_layer_problem(make_layer("lstm", "deep, both, batch first"))
    views = [p[:] for p in problem.layer.params.values()]
    before = problem.run()
    problem.layer.freeze()
    for view in views:
        view *= 2
    assert_same_bits(problem.run(), before)
    problem.layer.unfreeze()
    assert not np.array_equal(problem.run()["y"], before["y"])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_end_only_stores_no_sequence(bidirectional: bool) -> None:
    layer = rnnfast.GRU(2, 64, bidirectional=bidirectional, rng=0)
    x = np.ones((2000, 1, 2), np.float32)
    sequence = x.itemsize * 2000 * layer.output_size
    peaks = []
    for return_sequence in (True, False):
        tracemalloc.start()
        layer(x, return_sequence=return_sequence)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] > sequence
    assert peaks[1] < sequence / 10


@every_cell
def test_checkpoint_changes_no_result(cell: str) -> None:
    problem = make_layer_problem(make_layer(cell, "deep, both, batch first"), "ragged")
    assert_close(problem.vjp(checkpoint=True), problem.vjp(), 1e-13)


def test_no_checkpoint_unless_told_otherwise() -> None:
    layer, x = rnnfast.LSTM(3, 8, rng=1), np.ones((200, 2, 3), np.float32)
    dy, (_, _, pullback) = layer(x)[0], layer.vjp(x, checkpoint=False)
    assert_same_bits(layer.vjp(x)[2](dy).params, pullback(dy).params)


@every_cell
def test_end_only_without_a_gradient_of_the_state(cell: str) -> None:
    problem = make_layer_problem(make_layer(cell, "two directions"), "end only")
    _, _, pullback = problem.layer.vjp(problem.x, return_sequence=False)
    zero = problem.tree(tuple(np.zeros_like(part) for part in problem.dstate))
    want = pullback(problem.dy, zero, retain=True)
    assert_same_bits(pullback(problem.dy).params, want.params)


@every_stack
def test_outputs_are_c_contiguous(stack: str) -> None:
    problem = make_layer_problem(make_layer("lstm", stack))
    for y in (problem.run()["y"], problem.vjp()["y"]):
        assert y.flags.c_contiguous


@every_cell
def test_none_is_zero(cell: str) -> None:
    layer = make_layer(cell, "deep, both, batch first")
    problem = make_layer_problem(layer)
    zeros = tuple(np.zeros_like(part) for part in problem.state)
    zero = problem.tree(zeros)
    halves = (None,) * len(zeros) if len(zeros) > 1 else None
    dstate = problem.tree(problem.dstate)
    y, state, pullback = layer.vjp(problem.x, zero, need_x=True)
    no_dstate = pullback(problem.dy, zero, retain=True)
    no_dy = pullback(np.zeros_like(y), dstate)
    for none in (None, halves):
        y_none, state_none, pullback = layer.vjp(problem.x, none, need_x=True)
        assert_same_bits({"y": y_none}, {"y": y})
        np.testing.assert_array_equal(np.stack([state_none]), np.stack([state]))
        for got, want in (
            (pullback(problem.dy, none, retain=True), no_dstate),
            (pullback(None, dstate), no_dy),
        ):
            np.testing.assert_array_equal(got.x, want.x)
            np.testing.assert_array_equal(np.stack([got.state]), np.stack([want.state]))
            assert_same_bits(got.params, want.params)


def test_half_a_state() -> None:
    problem = make_layer_problem(make_layer("lstm", "two directions"))
    h, c = problem.state
    y, _ = problem.layer(problem.x, (None, c))
    want, _ = problem.layer(problem.x, (np.zeros_like(h), c))
    other, _ = problem.layer(problem.x, (h, c))
    np.testing.assert_array_equal(y, want)
    assert not np.array_equal(y, other)


@every_stack
def test_skip(stack: str) -> None:
    problem = make_layer_problem(make_layer("gru_after", stack), "ragged")
    want = problem.vjp()
    left_out = {"x", "weight_hh_l0"}
    _, _, pullback = problem.layer.vjp(problem.x, problem.state[0], problem.lengths, need_x=True)
    dx, dstate, grads = pullback(problem.dy, problem.dstate[0], skip=left_out)
    assert dx is None
    assert grads.keys() == problem.layer.params.keys() - left_out
    got = {"dstate[0]": dstate} | {f"d{name}": grad for name, grad in grads.items()}
    assert_same_bits(got, {name: want[name] for name in got})


def test_retain_and_second_call() -> None:
    problem = make_layer_problem(make_layer("lstm", "three layers"))
    _, _, pullback = problem.layer.vjp(problem.x, problem.state, need_x=True)
    first = pullback(problem.dy, problem.dstate, retain=True)
    with pytest.raises(ValueError, match="dy has shape"):
        pullback(problem.dy[:-1], problem.dstate)  # a bad argument uses nothing up
    second = pullback(problem.dy, problem.dstate)
    assert_same_bits(second.params, first.params)
    np.testing.assert_array_equal(second.x, first.x)
    with pytest.raises(RuntimeError, match=r"already called without retain=True"):
        pullback(problem.dy, problem.dstate)


@every_stack
def test_strided_input(stack: str) -> None:
    problem = make_layer_problem(make_layer("lstm", stack))
    want = problem.vjp()
    wide = np.full((2 * len(problem.x), *problem.x.shape[1:-1], 2 * I), np.nan)
    wide[::2, ..., ::-2] = problem.x
    view = wide[::2, ..., ::-2]
    read_only = np.broadcast_to(problem.dy, problem.dy.shape)
    strided = LayerProblem(**(vars(problem) | {"x": view, "dy": read_only}))
    assert_same_bits(strided.vjp(), want)


@pytest.mark.parametrize("lengths", [[3, 0, 5, 1], (3, 0, 5, 1), np.array([3, 0, 5, 1], np.uint8)])
def test_kinds_of_lengths(lengths: Any) -> None:
    problem = make_layer_problem(make_layer("lstm", "two directions"))
    want, _ = problem.layer(problem.x, lengths=np.array([3, 0, 5, 1]))
    got, _ = problem.layer(problem.x, lengths=lengths)
    np.testing.assert_array_equal(got, want)
    assert not got[3:, 0].any()
    assert got[:3, 0].all()


@pytest.mark.parametrize("shape", [(0, B, I), (T, 0, I), (T, B, 0)])
@every_cell
def test_empty(cell: str, shape: tuple[int, ...]) -> None:
    layer = Recurrent(cell, shape[2], H, 2, bidirectional=True, dtype="float64", rng=1)
    state = tuple(np.full((4, shape[1], H), 0.5) for _ in range(layer.num_states))
    given: Any = state if layer.num_states > 1 else state[0]
    y, final, pullback = layer.vjp(np.ones(shape), given, need_x=True)
    assert y.shape == (*shape[:2], 2 * H)
    if shape[0] == 0:
        np.testing.assert_array_equal(np.stack([final]), np.stack([given]))
    dx, _, grads = pullback(np.ones_like(y))
    assert dx is not None
    assert dx.shape == shape
    assert all(np.isfinite(grad).all() for grad in grads.values())


def test_classes_name_their_cells() -> None:
    cells = {rnnfast.RNN(2, 3, activation=g).cell for g in ("tanh", "relu", "sigmoid", "identity")}
    cells |= {rnnfast.LSTM(2, 3, peephole=peephole).cell for peephole in (False, True)}
    cells |= {rnnfast.GRU(2, 3, reset=reset).cell for reset in ("after", "before")}
    assert cells <= set(CELLS)
    assert rnnfast.RNN(2, 3).cell == "rnn_tanh"
    assert rnnfast.LSTM(2, 3).cell == "lstm"
    assert rnnfast.GRU(2, 3).cell == "gru_after"


def test_parameter_names_shapes_and_range() -> None:
    layer = rnnfast.LSTM(I, H, 2, bidirectional=True, peephole=True, rng=0)
    shapes = {name: p.shape for name, p in layer.params.items()}
    per_layer = {
        f"{stem}_l{k}{suffix}": shape
        for k, inputs in enumerate((I, 2 * H))
        for suffix in ("", "_reverse")
        for stem, shape in {
            "weight_ih": (4 * H, inputs), "weight_hh": (4 * H, H), "bias_ih": (4 * H,),
            "bias_hh": (4 * H,), "weight_peephole": (3, H),
        }.items()
    }  # fmt: skip
    assert list(shapes.items()) == list(per_layer.items())
    assert layer.num_parameters == sum(int(np.prod(shape)) for shape in per_layer.values())
    values = np.concatenate([p.ravel() for p in layer.params.values()])
    bound = H**-0.5
    assert np.abs(values).max() <= bound
    assert np.abs(values).max() > 0.98 * bound
    assert abs(values.mean()) < 4 * bound / np.sqrt(3 * values.size)
    assert "bias_ih_l0" not in rnnfast.LSTM(I, H, bias=False).params


def test_rng() -> None:
    def weights(rng: Any, dtype: str = "float32") -> Array:
        return rnnfast.GRU(I, H, dtype=dtype, rng=rng).params["weight_hh_l0"]

    np.testing.assert_array_equal(weights(3), weights(3))
    np.testing.assert_array_equal(weights(3), weights(np.random.default_rng(3)))
    np.testing.assert_array_equal(weights(3), weights(3, "float64").astype(np.float32))
    assert not np.array_equal(weights(3), weights(4))
    assert not np.array_equal(weights(None), weights(None))


def test_parameters_are_written_in_place() -> None:
    problem = make_layer_problem(make_layer("gru_before", "one layer"))
    before = problem.run()["y"]
    with pytest.raises(TypeError):
        problem.layer.params["weight_ih_l0"] = np.zeros(1)  # type: ignore[index]
    problem.layer.params["weight_ih_l0"][:] *= 2
    assert not np.array_equal(problem.run()["y"], before)
    assert_close(problem.vjp(), reference_results(problem), problem.tolerance)


def test_split_run_is_a_whole_run() -> None:
    layer = make_layer("lstm", "three layers")
    problem = make_layer_problem(layer)
    y, state = layer(problem.x, problem.state)
    first, between = layer(problem.x[:2], problem.state)
    second, end = layer(problem.x[2:], between)
    np.testing.assert_allclose(np.concatenate([first, second]), y, rtol=0, atol=1e-14)
    np.testing.assert_allclose(np.stack(end), np.stack(state), rtol=0, atol=1e-14)


def test_lengths_equal_single_sequences() -> None:
    layer = make_layer("gru_after", "deep, both, batch first")
    problem = make_layer_problem(layer, "ragged")
    y, state = layer(problem.x, problem.state[0], problem.lengths)
    for b, length in enumerate(ragged(T, B)):
        one, end = layer(problem.x[b, :length], problem.state[0][:, b])
        np.testing.assert_allclose(y[b, :length], one, rtol=0, atol=1e-14)
        np.testing.assert_allclose(state[:, b], end, rtol=0, atol=1e-14)

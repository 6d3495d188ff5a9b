"""Sequential: the same numbers as its layers one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rnnfast
from layer_problems import B, T
from numpy.testing import assert_array_equal
from problems import Array, ragged

LENGTHS = ragged(T, B)


def make_chain(**options: Any) -> rnnfast.Sequential:
    options = {"dtype": "float64"} | options
    return rnnfast.Sequential(
        rnnfast.Embedding(7, 3, **options, rng=1),
        rnnfast.LSTM(3, 4, 2, bidirectional=True, **options, rng=2),
        rnnfast.GRU(8, 5, **options, rng=3),
        rnnfast.Dense(5, 2, activation="tanh", **options, rng=4),
    )


def leaves(state: Any) -> list[Array]:
    if state is None:
        return []
    return [state] if isinstance(state, np.ndarray) else [a for part in state for a in leaves(part)]


@pytest.mark.parametrize("return_sequence", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "ragged"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_is_its_layers(batch_first: bool, lengths: Any, return_sequence: bool) -> None:
    rng = np.random.default_rng(0)
    chain = make_chain(batch_first=batch_first)
    embedding, lstm, gru, dense = chain
    ids = rng.integers(0, 7, (B, T) if batch_first else (T, B))
    h, c, a0 = (rng.standard_normal(shape) for shape in [(4, B, 4), (4, B, 4), (1, B, 5)])
    state, dstate = (None, (h, c), a0, None), (None, (c, None), 2 * a0, None)

    x, _, back_embedding = embedding.vjp(ids, lengths=lengths)
    x, end_lstm, back_lstm = lstm.vjp(x, (h, c), lengths, need_x=True)
    x, end_gru, back_gru = gru.vjp(x, a0, lengths, return_sequence=return_sequence, need_x=True)
    want, _, back_dense = dense.vjp(x, lengths=lengths if return_sequence else None, need_x=True)
    dy = rng.standard_normal(want.shape)
    dx, _, grads_dense = back_dense(dy)
    dx, d_gru, grads_gru = back_gru(dx, 2 * a0)
    dx, d_lstm, grads_lstm = back_lstm(dx, (c, None))
    _, _, grads_embedding = back_embedding(dx)

    y, end, pullback = chain.vjp(ids, state, lengths, return_sequence=return_sequence)
    dx, d_state, grads = pullback(dy, dstate)
    assert dx is None
    assert_array_equal(y, want)
    assert_array_equal(chain(ids, state, lengths, return_sequence=return_sequence)[0], want)
    for got, expected in (
        (end, (None, end_lstm, end_gru, None)),
        (d_state, (None, d_lstm, d_gru, None)),
    ):
        for one, other in zip(leaves(got), leaves(expected), strict=True):
            assert_array_equal(one, other)
    parts = (grads_embedding, grads_lstm, grads_gru, grads_dense)
    expected = {f"{i}.{name}": g for i, part in enumerate(parts) for name, g in part.items()}
    assert list(grads) == list(expected) == list(chain.params)
    for name, grad in grads.items():
        assert_array_equal(grad, expected[name])


def test_parameters_are_the_layers() -> None:
    chain = make_chain()
    assert all(
        chain.params[f"{i}.{name}"] is p
        for i, layer in enumerate(chain)
        for name, p in layer.params.items()
    )
    assert chain.num_parameters == sum(layer.num_parameters for layer in chain)


def test_skip() -> None:
    rng = np.random.default_rng(0)
    chain = rnnfast.Sequential(rnnfast.LSTM(3, 4, rng=1), rnnfast.Dense(4, 2, rng=2))
    x = rng.standard_normal((T, B, 3)).astype(np.float32)
    y, _, pullback = chain.vjp(x, need_x=True)
    dx, _, grads = pullback(y, retain=True)
    none, _, some = pullback(y, skip=("x", "0.weight_hh_l0", "1.bias"))
    assert dx is not None
    assert dx.shape == x.shape
    assert none is None
    assert some.keys() == grads.keys() - {"0.weight_hh_l0", "1.bias"}
    for name, grad in some.items():
        assert_array_equal(grad, grads[name])


def test_second_call_and_retry() -> None:
    chain = make_chain()
    y, _, pullback = chain.vjp(np.ones((T, B), int))
    with pytest.raises(ValueError, match=r"dstate\[1\]\[0\] has shape"):
        pullback(y, (None, (np.zeros((1, B, 4)), None), None, None))
    first = pullback(y, retain=True)
    second = pullback(y)
    for name, grad in first.params.items():
        assert_array_equal(second.params[name], grad)
    with pytest.raises(RuntimeError, match="already called without retain=True"):
        pullback(y)


def test_nested() -> None:
    lstm, dense = rnnfast.LSTM(3, 4, rng=1), rnnfast.Dense(4, 2, rng=2)
    flat = rnnfast.Sequential(lstm, dense)
    nested = rnnfast.Sequential(rnnfast.Sequential(lstm), dense)
    assert next(iter(nested.params)) == "0.0.weight_ih_l0"
    x = np.ones((T, B, 3), np.float32)
    y, state, pullback = nested.vjp(x, return_sequence=False)
    want, end, pullback_flat = flat.vjp(x, return_sequence=False)
    assert_array_equal(y, want)
    assert_array_equal(np.stack(state[0][0]), np.stack(end[0]))
    grads, grads_flat = pullback(y).params, pullback_flat(y).params
    for grad, want in zip(grads.values(), grads_flat.values(), strict=True):
        assert_array_equal(grad, want)


def test_unbatched() -> None:
    chain = rnnfast.Sequential(rnnfast.LSTM(3, 4, rng=1), rnnfast.Dense(4, 2, rng=2))
    x = np.random.default_rng(0).standard_normal((T, 3)).astype(np.float32)
    y, _ = chain(x)
    want, _ = chain(x[:, None])
    assert_array_equal(y, want[:, 0])
    end, _ = chain(x, return_sequence=False)
    np.testing.assert_allclose(end, y[-1], rtol=0, atol=1e-7)

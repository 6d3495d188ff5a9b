"""Dense, Embedding and Dropout."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import rnnfast
from layer_problems import B, H, T
from numpy.testing import assert_allclose, assert_array_equal
from problems import Array, ragged
from rnnfast.layers import Layer

O = 3  # noqa: E741
ACTIVATIONS = ("identity", "tanh", "relu", "sigmoid", "softmax")


def g2(name: str, z: Array) -> Array:
    """The activations by their definitions, for complex numbers too."""
    exp = np.exp(z - z.real.max(axis=-1, keepdims=True))
    return {
        "identity": z,
        "tanh": np.tanh(z),
        "relu": np.where(z.real > 0, z, 0),
        "sigmoid": 1 / (1 + np.exp(-z)),
        "softmax": exp / exp.sum(axis=-1, keepdims=True),
    }[name]


def complex_step(function: Any, array: Array, weight: Array) -> Array:
    """The gradient of sum(weight * function(array))."""
    gradient = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        moved = array.astype(complex)
        moved[index] += 1e-30j
        gradient[index] = (weight * function(moved)).sum().imag / 1e-30
    return gradient


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense(activation: str, bias: bool) -> None:
    rng = np.random.default_rng(0)
    dense = rnnfast.Dense(H, O, activation=activation, bias=bias, dtype="float64", rng=1)
    x, dy = rng.standard_normal((T, B, H)), rng.standard_normal((T, B, O))
    W, b = dense.params["weight"], dense.params.get("bias", np.zeros(O))
    y, state, pullback = dense.vjp(x, need_x=True)
    dx, dstate, grads = pullback(dy)
    assert state is None
    assert dstate is None
    assert_allclose(y, g2(activation, x @ W.T + b), rtol=0, atol=1e-14)
    assert_array_equal(dense(x)[0], y)
    for got, want in (
        (dx, complex_step(lambda x: g2(activation, x @ W.T + b), x, dy)),
        (grads["weight"], complex_step(lambda W: g2(activation, x @ W.T + b), W, dy)),
    ):
        assert_allclose(got, want, rtol=0, atol=1e-13)
    if bias:
        want = complex_step(lambda b: g2(activation, x @ W.T + b), b, dy)
        assert_allclose(grads["bias"], want, rtol=0, atol=1e-13)
    assert grads.keys() == dense.params.keys()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_in_float32(activation: str) -> None:
    rng = np.random.default_rng(0)
    narrow = rnnfast.Dense(H, O, activation=activation, rng=1)
    wide = rnnfast.Dense(H, O, activation=activation, dtype="float64", rng=1)
    wide.load({name: p.astype(np.float64) for name, p in narrow.params.items()})
    x, dy = (rng.standard_normal((T, B, n)).astype(np.float32) for n in (H, O))
    y, _, pullback = narrow.vjp(x, need_x=True)
    y_wide, _, pullback_wide = wide.vjp(x.astype(np.float64), need_x=True)
    dx, _, grads = pullback(dy)
    dx_wide, _, grads_wide = pullback_wide(dy.astype(np.float64))
    eps = np.finfo(np.float32).eps
    for got, want, K in (
        (y, y_wide, H), (dx, dx_wide, H + O), (grads["weight"], grads_wide["weight"], T * B),
        (grads["bias"], grads_wide["bias"], T * B),
    ):  # fmt: skip
        assert got.dtype == np.float32
        assert_allclose(got, want, rtol=0, atol=4 * eps * np.sqrt(K) * np.abs(want).max())


@pytest.mark.parametrize("shape", [(H,), (B, H), (2, T, B, H), (0, B, H)])
def test_dense_takes_any_leading_axes(shape: tuple[int, ...]) -> None:
    dense = rnnfast.Dense(H, O, activation="tanh", dtype="float64", rng=1)
    x = np.random.default_rng(0).standard_normal(shape)
    y, _, pullback = dense.vjp(x, need_x=True)
    assert_allclose(y, np.tanh(x @ dense.params["weight"].T + dense.params["bias"]), atol=1e-15)
    dx, _, grads = pullback(np.ones_like(y))
    assert_allclose(dx, (1 - y**2) @ dense.params["weight"], rtol=0, atol=1e-15)
    assert_allclose(grads["bias"], (1 - y**2).reshape(-1, O).sum(axis=0), rtol=0, atol=1e-14)


@pytest.mark.parametrize("batch_first", [False, True])
def test_lengths(batch_first: bool) -> None:
    """Past a length the output is 0, and NaN there reaches nothing."""
    rng = np.random.default_rng(0)
    lengths = ragged(T, B)
    inside = np.arange(T)[:, None] < lengths
    inside = inside.T if batch_first else inside
    dense = rnnfast.Dense(H, O, activation="sigmoid", batch_first=batch_first, rng=1)
    embedding = rnnfast.Embedding(7, O, batch_first=batch_first, rng=1)
    x = rng.standard_normal((*inside.shape, H)).astype(np.float32)
    ids = rng.integers(0, 7, inside.shape)
    x[~inside], ids[~inside] = np.nan, -1
    layers: list[tuple[Layer, Array]] = [(dense, x), (embedding, ids)]
    for layer, given in layers:
        dy = rng.standard_normal((*inside.shape, O)).astype(np.float32)
        y, _, pullback = layer.vjp(given, lengths=lengths, need_x=True)
        want, _, pullback_rows = layer.vjp(given[inside], need_x=True)
        dx_want, _, grads_want = pullback_rows(dy[inside])
        dy[~inside] = np.nan
        dx, _, grads = pullback(dy)
        assert_array_equal(y, layer(given, lengths=lengths.tolist())[0])
        for got, inner in ((y, want), (dx, dx_want)):
            assert (got is None) == (inner is None)
            if got is not None:
                assert_array_equal(got[inside], inner)
                assert not got[~inside].any()
        for name, grad in grads.items():
            assert_array_equal(grad, grads_want[name])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("lengths", [None, [5, 1, 0, 2]])
def test_output_of_dense_is_read_only(lengths: Any, activation: str) -> None:
    dense = rnnfast.Dense(H, O, activation=activation, rng=1)
    x = np.ones((T, B, H), np.float32)
    assert not dense.vjp(x, lengths=lengths)[0].flags.writeable
    assert dense(x, lengths=lengths)[0].flags.writeable


def test_call_of_dropout_is_a_copy() -> None:
    for shape in ((3,), (B, 3), (T, B, 3)):
        x = np.ones(shape, np.float32)
        y, _ = rnnfast.Dropout()(x)
        y *= 2
        assert_array_equal(x, 1)
        assert y.shape == shape


def test_initial_values() -> None:
    """Dense within 1 / sqrt of its inputs, whatever its outputs; Embedding normal."""
    for outputs in (2, 900):
        dense = rnnfast.Dense(400, outputs, rng=0)
        for p, least in zip(dense.params.values(), (0.98, 0.2), strict=True):
            assert least / 20 < np.abs(p).max() <= 1 / 20
    weight = rnnfast.Embedding(200, 200, rng=0).params["weight"].astype(float)
    n = weight.size
    assert abs(weight.mean()) < 4 / np.sqrt(n)
    assert abs((weight**2).mean() - 1) < 4 * np.sqrt(2 / n)
    assert abs((weight**4).mean() - 3) < 4 * np.sqrt(96 / n)  # of a uniform distribution 1.8
    assert rnnfast.Embedding(5, 2, rng=0).params["weight"].dtype == np.float32


@pytest.mark.parametrize("ids", [3, np.int8(3), np.array(3), [3], [[3, 0], [1, 3]], []])
def test_ids_as_ints_and_lists(ids: Any) -> None:
    embedding = rnnfast.Embedding(5, 2, rng=1)
    array = np.array(ids, int)
    y, _, pullback = embedding.vjp(ids)
    assert_array_equal(y, embedding.params["weight"][array])
    assert_array_equal(embedding(ids)[0], y)
    want = embedding.vjp(array)[2](np.ones_like(y)).params["weight"]
    assert_array_equal(pullback(np.ones_like(y)).params["weight"], want)


@pytest.mark.parametrize("lengths", [None, [3, 0, 5, 2]])
def test_sparse_embedding(lengths: Any) -> None:
    dense, sparse = (rnnfast.Embedding(50, 2, sparse=s, rng=1) for s in (False, True))
    ids = np.random.default_rng(0).integers(0, 9, (T, B)).astype(np.uint8)
    y, _, pullback = sparse.vjp(ids, lengths=lengths)
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    grad = pullback(dy).params["weight"]
    assert isinstance(grad, rnnfast.RowGradient)
    counted = ids if lengths is None else ids[np.arange(T)[:, None] < lengths]
    assert_array_equal(grad.rows, np.unique(counted))
    assert grad.dtype == np.float32
    want = dense.vjp(ids, lengths=lengths)[2](dy).params["weight"]
    assert_array_equal(grad.dense(), want)
    none = sparse.vjp(ids[:0])[2](dy[:0]).params["weight"]
    assert none.rows.size == 0
    assert (none.shape, none.dtype) == ((50, 2), np.float32)
    chain = rnnfast.Sequential(emb=sparse, rnn=rnnfast.GRU(2, 3, rng=1))
    y, _, pullback = chain.vjp(ids)
    assert isinstance(pullback(y).params["emb.weight"], rnnfast.RowGradient)


def test_sparse_embedding_reads_a_few_rows_only() -> None:
    """The memory of a step is far below that of the table, 8 MB."""
    embedding = rnnfast.Embedding(1_000_000, 2, sparse=True, rng=1)
    ids = np.array([[3, 999_999, 3]])
    tracemalloc.start()
    y, _, pullback = embedding.vjp(ids)
    grad = pullback(np.ones_like(y)).params["weight"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
    assert_array_equal(grad.rows, [3, 999_999])
    assert_array_equal(grad.values, [[2, 2], [1, 1]])


def test_embedding() -> None:
    embedding = rnnfast.Embedding(5, 2, dtype="float64", rng=1)
    ids = np.array([[3, 0], [3, 4], [3, 3]], np.uint8)
    y, state, pullback = embedding.vjp(ids)
    assert state is None
    assert_array_equal(y, embedding.params["weight"][ids])
    assert_array_equal(embedding(ids)[0], y)
    dy = np.arange(12.0).reshape(3, 2, 2)
    dx, _, grads = pullback(dy)
    assert dx is None
    want = np.zeros((5, 2))
    np.add.at(want, ids, dy)
    assert_array_equal(grads["weight"], want)
    assert abs(rnnfast.Embedding(100, 100, rng=0).params["weight"].std() - 1) < 0.03


def test_dropout() -> None:
    dropout = rnnfast.Dropout(0.3)
    x = np.full((100, 10, 10), 2.0, np.float32)
    assert_array_equal(dropout(x)[0], x)
    y, _, pullback = dropout.vjp(x, rng=1, need_x=True)
    zero = y == 0
    assert abs(zero.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / x.size)
    assert_array_equal(y[~zero], np.float32(2) * np.float32(1 / 0.7))
    assert_array_equal(dropout.vjp(x, rng=1)[0], y)
    assert not np.array_equal(dropout.vjp(x, rng=2)[0], y)
    dx, _, grads = pullback(x)
    assert_array_equal(dx, y)
    assert grads == {}


@pytest.mark.parametrize("name", ["lstm", "chain"])
def test_gradient_through_dropout(name: str) -> None:
    """Central differences, with the masks of one seed."""
    layer: Layer
    if name == "lstm":
        layer = rnnfast.LSTM(2, 3, 3, dropout=0.5, bidirectional=True, dtype="float64", rng=1)
    else:
        layer = rnnfast.Sequential(
            rnnfast.Dropout(0.4, dtype="float64"),
            rnnfast.GRU(2, 3, dtype="float64", rng=1),
            rnnfast.Dropout(0.4, dtype="float64"),
            rnnfast.Dense(3, 2, dtype="float64", rng=2),
        )
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3, 2))
    y, _, pullback = layer.vjp(x, rng=5, need_x=True)
    assert not np.array_equal(y, layer(x)[0])
    dy = rng.standard_normal(y.shape)
    dx, _, grads = pullback(dy)
    assert dx is not None

    def loss() -> float:
        return float((layer.vjp(x, rng=5)[0] * dy).sum())

    for array, gradient in ((x, dx), *((p, grads[k]) for k, p in layer.params.items())):
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + 1e-5
            above = loss()
            array[index] = kept - 1e-5
            below = loss()
            array[index] = kept
            # The differences' own error is about 1e-10 from h**2, and eps / h.
            assert gradient[index] == pytest.approx((above - below) / 2e-5, abs=2e-9)


def test_dense_of_one_input() -> None:
    layer = rnnfast.Dense(1, 1000, rng=1)
    assert 0.95 < np.abs(layer.params["weight"]).max() <= 1
    y, _, pullback = layer.vjp(np.ones((2, 1), np.float32))
    assert list(pullback(y, skip="weight").params) == ["bias"]


def test_masks_of_a_chain_differ() -> None:
    chain = rnnfast.Sequential(rnnfast.Dropout(0.5), rnnfast.Dropout(0.5))
    kept = chain.vjp(np.ones((40, 10, 10), np.float32), rng=3)[0] > 0
    assert abs(kept.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / kept.size)

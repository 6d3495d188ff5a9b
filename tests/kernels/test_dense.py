"""Dense, cross-entropy, embedding and optimiser steps: right at odd sizes, alike on any threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import Array, assert_same_bits
from rnnfast import _rnnfast

COUNTS = (1, 2, 3, 8)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture
def on_all_counts() -> Iterator[Callable[[Callable[[], dict[str, Array]]], dict[str, Array]]]:
    """Call a function with 1, 2, 3 and 8 threads, compare the bits, and return its results."""
    before = _rnnfast.num_threads(), _rnnfast._parallel_operations()
    _rnnfast._set_parallel_operations(0)

    def call(function: Callable[[], dict[str, Array]]) -> dict[str, Array]:
        results = []
        for count in COUNTS:
            _rnnfast.set_num_threads(count)
            results.append(function())
        for other in results[1:]:
            assert_same_bits(other, results[0])
        return results[0]

    yield call
    _rnnfast.set_num_threads(before[0])
    _rnnfast._set_parallel_operations(before[1])


def draw(dtype: str, *shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(sum(map(sum, shapes)))
    return [rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes]


def close(got: Array, want: Array, terms: int) -> None:
    """Within the error of sums of so many terms below 1, one rounding a term."""
    eps = float(np.finfo(got.dtype).eps)
    assert_allclose(got, want, rtol=0, atol=eps * max(terms, 16))


DENSE = [
    *[(N, 5, O) for N in (0, 1, 5, 64, 65, 1000) for O in (1, 7, 10, 513)],  # noqa: E741
    *[(N, I, 7) for N in (4, 65) for I in (0, 1, 64, 300)],  # noqa: E741
    *[(1, 8, 10_000), (3, 64, 10_000), (70, 33, 10_000), (1025, 16, 600), (1025, 300, 70)],
]


@pytest.mark.parametrize("sizes", DENSE)
@every_dtype
def test_dense(sizes: tuple[int, int, int], dtype: str, on_all_counts: Any) -> None:
    N, I, O = sizes  # noqa: E741
    x, W, b, dy = draw(dtype, (N, I), (O, I), (O,), (N, O))

    def everything() -> dict[str, Array]:
        y = _rnnfast.dense(x, W, b, "identity")
        dx, dW, db = _rnnfast.dense_vjp(x, W, y, dy, "identity", True)
        _, alone, _ = _rnnfast.dense_vjp(x, W, y, dy, "identity", False)
        return {"y": y, "dx": dx, "dW": dW, "db": db, "dW without dx": alone}

    got = on_all_counts(everything)
    x, W, b, dy = (array.astype(float) for array in (x, W, b, dy))
    close(got["y"], x @ W.T + b, I)
    close(got["dx"], dy @ W, O)
    close(got["dW"], dy.T @ x, N)
    close(got["db"], dy.sum(0), N)
    assert_array_equal(got["dW without dx"], got["dW"])


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "softmax"])
@pytest.mark.parametrize("sizes", [(1, 513), (66, 7), (130, 513)])
def test_dense_activations(activation: str, sizes: tuple[int, int], on_all_counts: Any) -> None:
    N, O = sizes  # noqa: E741
    x, W, b, dy = draw("float64", (N, 9), (O, 9), (O,), (N, O))
    z = x @ W.T + b
    e = np.exp(z - z.max(1, keepdims=True))
    y = {
        "tanh": np.tanh(z),
        "relu": np.maximum(z, 0),
        "sigmoid": 1 / (1 + np.exp(-z)),
        "softmax": e / e.sum(1, keepdims=True),
    }[activation]
    dz = {
        "tanh": dy * (1 - y**2),
        "relu": dy * (y > 0),
        "sigmoid": dy * y * (1 - y),
        "softmax": y * (dy - (y * dy).sum(1, keepdims=True)),
    }[activation]

    def everything() -> dict[str, Array]:
        y = _rnnfast.dense(x, W, b, activation)
        dx, dW, db = _rnnfast.dense_vjp(x, W, y, dy, activation, True)
        return {"y": y, "dx": dx, "dW": dW, "db": db}

    got = on_all_counts(everything)
    close(got["y"], y, 9)
    close(got["dx"], dz @ W, O)
    close(got["dW"], dz.T @ x, N)
    close(got["db"], dz.sum(0), N)


FEW = [(0, 3), (1, 1), (5, 7), (64, 10), (1000, 32), (77, 33), (1000, 513)]


@pytest.mark.parametrize("sizes", [*FEW, (33, 10_000), (3, 70_000)])
@every_dtype
def test_cross_entropy(sizes: tuple[int, int], dtype: str, on_all_counts: Any) -> None:
    N, O = sizes  # noqa: E741
    (z,) = draw(dtype, (N, O))
    z *= 20
    rng = np.random.default_rng(1)
    target, counts = rng.integers(0, O, N), rng.random(N) < 0.7
    weight = rng.random(O).astype(dtype)
    z[~counts], target[~counts] = np.nan, -1

    def everything() -> dict[str, Array]:
        loss, dz = _rnnfast.cross_entropy(z, target, counts, weight, 3.0)
        return {"loss": np.array(loss), "dz": dz}

    got = on_all_counts(everything)
    exact, classes = z[counts].astype(float), target[counts]
    shifted = exact - exact.max(1, keepdims=True, initial=-np.inf)
    q = np.exp(shifted)
    total = q.sum(1, keepdims=True)
    rows, w = np.arange(len(exact)), weight.astype(float)[classes]
    want = np.zeros((N, O))
    d = q / total
    d[rows, classes] -= 1
    want[counts] = w[:, None] * d / 3
    eps = float(np.finfo(dtype).eps)
    loss = (w * (np.log(total[:, 0]) - shifted[rows, classes])).sum() / 3
    assert got["loss"] == pytest.approx(loss, rel=4 * eps, abs=eps)
    assert_allclose(got["dz"], want, rtol=16 * eps, atol=eps)
    assert not got["dz"][~counts].any()


@every_dtype
def test_cross_entropy_of_what_is_no_number(dtype: str) -> None:
    """As of the formulas: NaN spreads over its row, and -inf rules a class out."""
    z = np.array([[0, np.nan, 0], [-np.inf] * 3, [np.inf, 0, 0], [-np.inf, 0, 0]], dtype)
    target = np.array([0, 1, 2, 0])
    for row, c in zip(z, target, strict=True):
        loss, dz = _rnnfast.cross_entropy(row[None].copy(), np.array([c]), None, None, 1.0)
        if np.isneginf(row).sum() == 1:
            assert loss == np.inf
            assert_array_equal(dz, np.array([[-1, 0.5, 0.5]], dtype))
        else:
            assert np.isnan(loss)
            assert np.isnan(dz).all()
    # 20 vectors and a rest: wherever it stands
    for at in (0, 17, 100, 322):
        z = np.zeros((1, 323), dtype)
        z[0, at] = np.nan
        loss, dz = _rnnfast.cross_entropy(z, np.array([5]), None, None, 1.0)
        assert np.isnan(loss)
        assert np.isnan(dz).all()


@pytest.mark.parametrize(("N", "E"), [(0, 3), (1, 1), (1000, 5), (333, 64), (70, 517)])
@every_dtype
def test_embedding(N: int, E: int, dtype: str, on_all_counts: Any) -> None:
    table, dy = draw(dtype, (23, E), (N, E))
    ids = np.minimum(np.random.default_rng(0).integers(0, 40, N), 21)  # 21 often, 22 never
    want = np.zeros((23, E), dtype)
    np.add.at(want, ids, dy)  # one after the other
    got = on_all_counts(
        lambda: {
            "y": _rnnfast.embedding(ids, table),
            "dW": _rnnfast.embedding_vjp(ids, dy, 23),
        }
    )
    assert_same_bits(got, {"y": table[ids], "dW": want})


@pytest.mark.parametrize("n", [1, 1000, 16 * 1024, 100_003])
@every_dtype
def test_steps(n: int, dtype: str, on_all_counts: Any) -> None:
    """Arrays of several pieces, and of both dtypes in one call."""
    p, g, m, v = draw(dtype, (n,), (n,), (n,), (n,))
    v = abs(v)
    few = draw("float64", (7,))

    def everything() -> dict[str, Array]:
        adam, sgd, rmsprop = ([array.copy() for array in (p, m, v)] for _ in range(3))
        _rnnfast.adam_step(
            [few[0].copy(), adam[0]], [few[0], g], [few[0].copy(), adam[1]],
            [few[0] ** 2, adam[2]], 3, 0.1, 0.9, 0.99, 1e-8, 0.01, False,
        )  # fmt: skip
        _rnnfast.sgd_step([sgd[0]], [g], [sgd[1]], 0.1, 0.9, 0.01)
        _rnnfast.rmsprop_step([rmsprop[0]], [g], [rmsprop[2]], 0.1, 0.9, 1e-8, 0.01)
        scaled = g.copy()
        _rnnfast.scale([few[0].copy(), scaled], 0.3)
        norm = np.array(_rnnfast.norm([few[0], g]))
        return {
            "norm": norm, "scaled": scaled, "sgd": sgd[0], "velocity": sgd[1],
            "adam": adam[0], "m": adam[1], "v": adam[2],
            "rmsprop": rmsprop[0], "square_avg": rmsprop[2],
        }  # fmt: skip

    got = on_all_counts(everything)
    P, G, M, V = (array.astype(float) for array in (p, g, m, v))
    D = G + 0.01 * P
    close(got["velocity"], 0.9 * M + D, 4)
    close(got["sgd"], P - 0.1 * (0.9 * M + D), 4)
    close(got["m"], 0.9 * M + 0.1 * D, 4)
    close(got["v"], 0.99 * V + 0.01 * D**2, 4)
    step = 0.1 * (0.9 * M + 0.1 * D) / (1 - 0.9**3)
    close(got["adam"], P - step / (np.sqrt((0.99 * V + 0.01 * D**2) / (1 - 0.99**3)) + 1e-8), 64)
    close(got["square_avg"], 0.9 * V + 0.1 * D**2, 4)
    close(got["rmsprop"], P - 0.1 * D / (np.sqrt(0.9 * V + 0.1 * D**2) + 1e-8), 64)
    close(got["scaled"], 0.3 * G, 4)
    assert got["norm"] == pytest.approx(np.sqrt((G**2).sum() + (few[0] ** 2).sum()), rel=1e-14)


def test_threads_take_part() -> None:
    before = _rnnfast.num_threads()
    _rnnfast.set_num_threads(2)
    x, W, dy = draw("float32", (2000, 64), (500, 64), (2000, 500))
    ids, table = np.arange(2000) % 7, draw("float32", (7, 256))[0]
    big = np.ones(2_000_000, np.float32)
    calls: list[Callable[[], Any]] = [
        lambda: _rnnfast.dense(x, W, None, "identity"),
        lambda: _rnnfast.dense_vjp(x, W, dy, dy, "tanh", True),
        lambda: _rnnfast.cross_entropy(dy, ids, None, None, 1.0),
        lambda: _rnnfast.embedding(ids, table),
        lambda: _rnnfast.embedding_vjp(ids, _rnnfast.embedding(ids, table), 7),
        lambda: _rnnfast.sgd_step([big], [big], None, 0.1, 0.0, 0.0),
        lambda: _rnnfast.norm([big]),
    ]
    for call in calls:
        end, took_part = time.monotonic() + 30, 1  # a busy machine may have no thread to spare
        while took_part < 2 and time.monotonic() < end:
            call()
            took_part = _rnnfast._last_threads()
        assert took_part == 2
    _rnnfast.set_num_threads(before)


def i64(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


z, table = np.zeros((2, 3)), np.zeros((3, 2))
BAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: _rnnfast.cross_entropy(z, i64(0, 3), None, None, 1.0), ValueError,
        "target contains 3, expected 0 <= class < O = 3",
    ),
    (
        lambda: _rnnfast.cross_entropy(z, i64(0), None, None, 1.0), TypeError,
        "target is a ndarray of dtype int64, expected 2 contiguous numbers of int64",
    ),
    (
        lambda: _rnnfast.cross_entropy(z, i64(0, 1).astype("i4"), None, None, 1.0), TypeError,
        "target is a ndarray of dtype int32, expected 2 contiguous numbers of int64",
    ),
    (
        lambda: _rnnfast.cross_entropy(z, i64(0, 9, 1)[::2], None, None, 1.0), TypeError,
        "target is a ndarray of dtype int64, expected 2 contiguous numbers",
    ),
    (
        lambda: _rnnfast.cross_entropy(z, i64(0, 1), np.ones(3, bool), None, 1.0), TypeError,
        "counts is a ndarray of dtype bool, expected 2 contiguous numbers of bool",
    ),
    (
        lambda: _rnnfast.cross_entropy(z, i64(0, 1), None, np.ones(2), 1.0), ValueError,
        r"weight has shape \(2,\), expected \(O,\) = \(3,\)",
    ),
    (
        lambda: _rnnfast.cross_entropy(z[0], i64(0, 1), None, None, 1.0), ValueError,
        r"logits has shape \(3,\), expected \(N, O\)",
    ),
    (
        lambda: _rnnfast.cross_entropy(z[:, :0], i64(0, 1), None, None, 1.0), ValueError,
        r"logits has shape \(N, 0\), expected O >= 1",
    ),
    (
        lambda: _rnnfast.embedding(i64(-1), table), ValueError,
        "x contains the id -1, expected 0 <= id < num_embeddings = 3",
    ),
    (
        lambda: _rnnfast.embedding([0], table), TypeError,
        "ids is a list, expected an array",
    ),
    (
        lambda: _rnnfast.embedding_vjp(i64(0, 5), z, 5), ValueError,
        "ids contains 5, expected 0 <= id < 5",
    ),
    (
        lambda: _rnnfast.embedding_vjp(i64(0), z, 5), TypeError,
        "ids is a ndarray of dtype int64, expected 2 contiguous numbers",
    ),
    (
        lambda: _rnnfast.embedding_vjp(i64(), z[:0], -1), ValueError,
        "rows is -1, expected at least 0",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "words"), BAD)
def test_bad_input(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=f"^{words}"):
        call()

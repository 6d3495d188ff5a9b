"""Initial values: the distributions and matrices that their papers define."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rnnfast
from numpy.testing import assert_allclose, assert_array_equal
from problems import Array
from rnnfast import init

M, N, BLOCKS = 60, 90, 4


def check_moments(W: Array, variance: float) -> None:
    """Mean 0 and this variance, within four standard errors."""
    n = W.size
    assert abs(W.mean()) < 4 * np.sqrt(variance / n)
    # The variance of the squares is at most twice the variance's square.
    assert abs((W**2).mean() - variance) < 4 * np.sqrt(2 * variance**2 / n)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_distributions(dtype: str) -> None:
    W = np.empty((BLOCKS * M, N), dtype)
    bound = np.sqrt(6 / (M + N))
    init.glorot_uniform(W, blocks=BLOCKS, rng=0)
    assert 0.99 * bound < np.abs(W).max() <= np.nextafter(bound, 1, dtype=dtype)
    check_moments(W, bound**2 / 3)
    init.torch_uniform(W, 16, rng=0)
    assert 0.99 / 4 < np.abs(W).max() <= 1 / 4
    check_moments(W, 1 / 16 / 3)


def test_glorot_normal() -> None:
    W = np.empty((BLOCKS * M, N))
    init.glorot_normal(W, blocks=BLOCKS, rng=0)
    check_moments(W, 2 / (M + N))
    # Normal, not uniform: the fourth moment is 3 and not 1.8 times the square of the variance.
    assert (W**4).mean() / (W**2).mean() ** 2 == pytest.approx(3, abs=0.15)


@pytest.mark.parametrize("shape", [(5, 5), (8, 5), (5, 8), (1, 4)])
def test_orthogonal(shape: tuple[int, int]) -> None:
    W = np.empty((BLOCKS * shape[0], shape[1]))
    init.orthogonal(W, blocks=BLOCKS, gain=1.5, rng=0)
    blocks = W.reshape(BLOCKS, *shape)
    assert not np.allclose(blocks[0], blocks[1])
    for block in blocks:
        product = block.T @ block if shape[0] >= shape[1] else block @ block.T
        assert_allclose(product, 1.5**2 * np.eye(min(shape)), rtol=0, atol=1e-14)


def test_orthogonal_is_uniform() -> None:
    """Over random rotations the entries have mean 0, also on the diagonal."""
    W = np.empty((3 * 2000, 3))
    init.orthogonal(W, blocks=2000, rng=0)
    check_moments(W.reshape(2000, 9)[:, [0, 4, 8]], 1 / 3)


def test_identity() -> None:
    rnn = rnnfast.RNN(2, 5, activation="relu", rng=0)
    init.identity(rnn.params["weight_hh_l0"], scale=0.5)
    assert_array_equal(rnn.params["weight_hh_l0"], 0.5 * np.eye(5))
    one = np.zeros((1, 1))
    init.identity(one)
    assert one == 1


def test_forget_bias() -> None:
    lstm = rnnfast.LSTM(2, 3, 2, bidirectional=True, rng=0)
    before = {name: p.copy() for name, p in lstm.params.items()}
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        init.forget_bias(lstm.params[f"bias_ih_{suffix}"], lstm.params[f"bias_hh_{suffix}"], 1.5)
    forget = slice(3, 6)  # of the rows i f g o
    for name, p in lstm.params.items():
        others = np.delete(p, np.r_[forget], axis=0)
        if "bias" in name:
            assert_array_equal(p[forget], 1.5 if "bias_ih" in name else 0.0)
            assert_array_equal(others, np.delete(before[name], np.r_[forget], axis=0))
        else:
            assert_array_equal(p, before[name])


def test_forget_bias_alone() -> None:
    b = np.arange(8.0)
    init.forget_bias(b)
    assert_array_equal(b, [0, 1, 1, 1, 4, 5, 6, 7])


def test_rng_and_in_place() -> None:
    for fill in (init.glorot_uniform, init.glorot_normal, init.orthogonal):
        one, other, narrow = np.empty((6, 3)), np.empty((6, 3)), np.empty((6, 3), np.float32)
        fill(one, rng=3)
        fill(other, blocks=1, rng=np.random.default_rng(3))
        fill(narrow, rng=3)
        assert_array_equal(one, other)
        assert_array_equal(narrow, one.astype(np.float32))
        fill(other, rng=4)
        assert not np.array_equal(one, other)


W, read_only = np.ones((6, 3)), np.ones((6, 3))
read_only.flags.writeable = False
lstm = rnnfast.LSTM(2, 3, rng=0)
CASES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: init.glorot_uniform(W.tolist()), TypeError, "W is a list, expected an ndarray"),
    (
        lambda: init.glorot_uniform(W.astype(int)), TypeError,
        "W has dtype int64, expected float32 or",
    ),
    (
        lambda: init.glorot_uniform(read_only), ValueError,
        "W is read-only, expected a writeable array",
    ),
    (
        lambda: init.glorot_normal(W, blocks=4), ValueError,
        r"W has shape \(6, 3\), expected \(blocks \* m, n\) w",
    ),
    (
        lambda: init.glorot_normal(W[0]), ValueError,
        r"W has shape \(3,\), expected \(blocks \* m, n\)",
    ),
    (lambda: init.glorot_normal(W[:0]), ValueError, r"W has shape \(0, 3\), expected"),
    (lambda: init.orthogonal(W, blocks=0), ValueError, "blocks is 0, expected an integer >= 1"),
    (
        lambda: init.orthogonal(W, gain=0), ValueError,
        r"gain is 0.0, expected a number in \(0, inf\)",
    ),
    (lambda: init.orthogonal(W, rng="x"), TypeError, r"^rng is 'x', expected None, an int"),
    (lambda: init.identity(W), ValueError, r"W_aa has shape \(6, 3\), expected \(H, H\)"),
    (
        lambda: init.identity(W[:3], scale=-1), ValueError,
        r"scale is -1.0, expected a number in \(0, inf",
    ),
    (lambda: init.torch_uniform(W, 0), ValueError, "fan is 0, expected an integer >= 1"),
    (
        lambda: init.torch_uniform([1.0], 1), TypeError,
        "p is a list, expected an ndarray of float32 or",
    ),
    (lambda: init.forget_bias(lstm), TypeError, "^b_ih is a LSTM, expected an ndarray of floa"),
    (lambda: init.forget_bias(W), ValueError, r"^b_ih has shape \(6, 3\), expected \(4\*H,\)"),
    (lambda: init.forget_bias(W[:, 0]), ValueError, r"^b_ih has shape \(6,\), expected \(4\*H,\)"),
    (lambda: init.forget_bias(W[:0, 0]), ValueError, r"^b_ih has shape \(0,\), expected \(4\*H,\)"),
    (lambda: init.forget_bias(read_only[:4, 0]), ValueError, "^b_ih is read-only, expected a wr"),
    (
        lambda: init.forget_bias(W[:4, 0], read_only[:4, 0]), ValueError,
        "^b_hh is read-only, expected a writeable",
    ),
    (
        lambda: init.forget_bias(W[:4, 0], W[:3, 0]), ValueError,
        r"^b_hh has shape \(3,\), expected \(4,\)",
    ),
    (
        lambda: init.forget_bias(W[:4, 0], W[:4, 0].astype("f")), TypeError,
        "^b_hh has dtype float32, expected float64",
    ),
    (
        lambda: init.forget_bias(lstm.params["bias_ih_l0"], value=float("nan")), ValueError,
        r"^value is nan, expected a number in \(-inf, inf\)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "words"), CASES)
def test_bad_input(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    before = {name: p.copy() for name, p in lstm.params.items()}
    with pytest.raises(kind, match=words):
        call()
    assert_array_equal(W, 1)
    for name, p in lstm.params.items():
        assert_array_equal(p, before[name])

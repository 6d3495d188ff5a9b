"""Params and RowGradient: what a layer's parameters and a table's gradient come as."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rnnfast
from numpy.testing import assert_array_equal
from rnnfast import Params, RowGradient


def make_params() -> Params:
    return Params({"w": np.arange(6.0).reshape(2, 3), "b": np.ones(2, np.float32)})


def test_mapping_of_live_arrays() -> None:
    arrays = {"w": np.zeros((2, 3)), "b": np.ones(2)}
    params = Params(arrays)
    assert list(params) == ["w", "b"]
    assert len(params) == 2
    assert "b" in params
    assert "x" not in params
    assert params["w"] is arrays["w"]
    assert dict(params).keys() == arrays.keys()
    params["w"][...] = 3
    assert_array_equal(arrays["w"], 3)
    arrays["more"] = np.ones(1)
    assert len(params) == 2
    assert repr(params) == "Params({'w': float64 (2, 3), 'b': float64 (2,)})"


def test_assignment_says_how_to_write() -> None:
    params: Any = make_params()
    with pytest.raises(TypeError, match=r"params\['w'\]\[\.\.\.\] = value"):
        params["w"] = np.zeros((2, 3))
    with pytest.raises(TypeError, match=r"params\['w'\] cannot be deleted"):
        del params["w"]
    with pytest.raises(TypeError, match="arrays is a list, expected a mapping of arrays"):
        Params([np.zeros(1)])  # type: ignore[arg-type]
    assert_array_equal(params["w"], make_params()["w"])
    w = params["w"]
    params["w"] *= 2
    assert params["w"] is w
    assert_array_equal(w, 2 * make_params()["w"])


COPIES: dict[str, Callable[[Params], Params]] = {
    "copy": lambda p: p.copy(),
    "copy.copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {n}": lambda p, n=n: pickle.loads(pickle.dumps(p, n)) for n in (2, 4, 5)},
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("frozen", [False, True])
def test_copies_are_snapshots(how: str, frozen: bool) -> None:
    params = make_params()
    for p in params.values():
        p.flags.writeable = not frozen
    twin = COPIES[how](params)
    assert type(twin) is Params
    assert list(twin) == list(params)
    for name, p in twin.items():
        assert_array_equal(p, params[name])
        assert p.dtype == params[name].dtype
        p[...] = 7  # its own memory, and writeable
        assert not np.any(params[name] == 7)


def test_deepcopy_keeps_what_is_one_array() -> None:
    w = np.ones(3)
    tied, other = copy.deepcopy((Params({"one": w, "two": w}), w))
    assert tied["one"] is tied["two"]
    assert tied["one"] is other


def test_snapshot_of_a_layer() -> None:
    layer = rnnfast.LSTM(2, 3, rng=0)
    assert isinstance(layer.params, Params)
    best = layer.params.copy()
    for p in layer.params.values():
        p += 1
    layer.load(best)
    for name, p in layer.params.items():
        assert_array_equal(p, best[name])
        assert not np.shares_memory(p, best[name])


def test_row_gradient() -> None:
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    grad = RowGradient(np.array([0, 2, 4]), values, (5, 2))
    assert grad.shape == (5, 2)
    assert grad.dtype == np.float32
    assert_array_equal(grad.dense(), [[0, 1], [0, 0], [2, 3], [0, 0], [4, 5]])
    assert grad.dense().dtype == np.float32
    grad.values *= 2
    assert_array_equal(grad.dense()[4], [8, 10])
    for twin in (copy.deepcopy(grad), pickle.loads(pickle.dumps(grad))):
        assert_array_equal(twin.dense(), grad.dense())
        assert not np.shares_memory(twin.values, grad.values)
    assert repr(grad) == "RowGradient(3 rows of a float32 table (5, 2))"
    for N in (5, 0):
        empty = RowGradient(np.empty(0, np.int64), np.empty((0, 2)), (N, 2))
        assert_array_equal(empty.dense(), np.zeros((N, 2)))


rows, values = np.array([0, 2]), np.ones((2, 3))
BAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: RowGradient([0, 2], values, (5, 3)), TypeError, "^rows is a list, expected a int64"),
    (lambda: RowGradient(rows * 0.5, values, (5, 3)), TypeError, "^rows has dtype float64, expec"),
    (lambda: RowGradient(rows[None], values, (5, 3)), ValueError, r"^rows has shape \(1, 2\), exp"),
    (lambda: RowGradient(rows, values > 0, (5, 3)), TypeError, "^values has dtype bool, expected"),
    (
        lambda: RowGradient(rows, values[:1], (5, 3)), ValueError,
        r"^values has shape \(1, 3\), expected \(n, E\) = \(2, 3\)",
    ),
    (lambda: RowGradient(rows, values, (5, 2)), ValueError, r"^values has shape \(2, 3\), expect"),
    (lambda: RowGradient(rows, values, (2, 3)), ValueError, r"^rows is \[0 2\], expected ascend"),
    (lambda: RowGradient(rows[::-1], values, (5, 3)), ValueError, r"^rows is \[2 0\], expected"),
    (lambda: RowGradient(rows * 0, values, (5, 3)), ValueError, r"^rows is \[0 0\], expected asc"),
    (
        lambda: RowGradient(np.array([0, 3, 3]), np.ones((3, 3)), (5, 3)), ValueError,
        r"^rows is \[0 3 3\], expected ascending",
    ),
    (lambda: RowGradient(rows - 1, values, (5, 3)), ValueError, r"^rows is \[-1  1\], expected"),
    (lambda: RowGradient(rows, values, (5,)), ValueError, r"^shape is \(5,\), expected a tuple"),
    (lambda: RowGradient(rows, values, (5, 3.0)), TypeError, r"^shape\[1\] is 3.0, expected an in"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "words"), BAD)
def test_bad_row_gradient(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()

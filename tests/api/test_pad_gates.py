"""pad, and the order of gates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rnnfast
from numpy.testing import assert_array_equal
from rnnfast import gates
from rnnfast.reference import CELLS

# ------------------------------------------------------------------ pad


def test_pad() -> None:
    sequences = [np.full((n, 2), n + 0.5, np.float32) for n in (2, 0, 3)]
    x, lengths = rnnfast.pad(sequences)
    assert x.dtype == np.float32
    assert x.shape == (3, 3, 2)
    assert_array_equal(lengths, [2, 0, 3])
    assert_array_equal(x[..., 0].T, [[2.5, 2.5, 0], [0, 0, 0], [3.5, 3.5, 3.5]])
    assert_array_equal(x[..., 1], x[..., 0])


def test_pad_ids() -> None:
    ids, lengths = rnnfast.pad((np.array([3, 4]), np.array([5])))
    assert_array_equal(ids, [[3, 5], [4, 0]])
    assert_array_equal(lengths, [2, 1])


def test_pad_batch_first() -> None:
    sequences = [np.full((n, 2), n + 0.5, np.float32) for n in (2, 0, 3, 1)]
    x, lengths = rnnfast.pad(sequences, batch_first=True)
    assert x.flags.c_contiguous
    assert_array_equal(x, rnnfast.pad(sequences)[0].swapaxes(0, 1))
    assert_array_equal(lengths, [2, 0, 3, 1])


def test_pad_lists() -> None:
    """As arrays of them; an empty one has the dtype and the features of the others."""
    x, lengths = rnnfast.pad([[3, 4], [], (5,)])
    assert x.dtype == np.int64
    assert_array_equal(x, [[3, 0, 5], [4, 0, 0]])
    assert_array_equal(lengths, [2, 0, 1])
    x, lengths = rnnfast.pad([[], [[1, 2]], [[0.5, 3], [4, 5]]])
    assert x.dtype == np.float64
    assert_array_equal(x, [[[0, 0], [1, 2], [0.5, 3]], [[0, 0], [0, 0], [4, 5]]])
    assert_array_equal(lengths, [0, 1, 2])
    x, lengths = rnnfast.pad([np.ones((1, 2), np.float32), []])
    assert x.dtype == np.float32
    assert_array_equal(x, [[[1, 1], [0, 0]]])


def test_pad_sizes() -> None:
    """More steps than sequences, and the other way round; and no step at all."""
    for T, B in ((4, 2), (2, 4)):
        sequences = [np.full((T - b % 2, 3), b + 1.0) for b in range(B)]
        x, lengths = rnnfast.pad(sequences, batch_first=True)
        assert x.shape == (B, T, 3)
        assert_array_equal(x.swapaxes(0, 1), rnnfast.pad(sequences)[0])
        assert lengths.dtype == np.int64
    x, lengths = rnnfast.pad([[], []])
    assert (x.shape, x.dtype) == ((0, 2), np.float64)
    assert_array_equal(lengths, [0, 0])


def test_padded_batch_is_its_sequences() -> None:
    rng = np.random.default_rng(0)
    sequences = [rng.standard_normal((n, 3)) for n in (4, 1, 6)]
    lstm = rnnfast.LSTM(3, 5, bidirectional=True, dtype="float64", rng=1)
    x, lengths = rnnfast.pad(sequences)
    y, _ = lstm(x, lengths=lengths)
    for b, sequence in enumerate(sequences):
        want, _ = lstm(sequence)
        np.testing.assert_allclose(y[: len(sequence), b], want, rtol=0, atol=1e-15)


a = np.zeros((2, 3))
PAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: rnnfast.pad([]), ValueError, "sequences is empty, expected at least one array"),
    (lambda: rnnfast.pad(a), TypeError, r"sequences is a ndarray, expected a list of arrays"),
    (lambda: rnnfast.pad(3), TypeError, r"sequences is a int, expected a list of arrays"),
    (lambda: rnnfast.pad([a, "ab"]), TypeError, r"sequences\[1\] is a str, expected an ndarray"),
    (lambda: rnnfast.pad([a, [[1.0]]]), ValueError, r"sequences\[1\] has shape \(1, 1\), expected"),
    (lambda: rnnfast.pad([[1], ["a"]]), TypeError, r"sequences\[1\] is a list of <U1, expected"),
    (lambda: rnnfast.pad([[True]]), TypeError, r"sequences\[0\] is a list of bool, expected a"),
    (lambda: rnnfast.pad([[[1], [2, 3]]]), ValueError, r"sequences\[0\] has lists of different le"),
    (lambda: rnnfast.pad([[2**70]]), TypeError, r"sequences\[0\] is a list of object, expected a"),
    (lambda: rnnfast.pad([a], batch_first=0), TypeError, "batch_first is 0, expected True or"),
    (lambda: rnnfast.pad([np.array(1.0)]), ValueError, r"sequences\[0\] has shape \(\), expected"),
    (lambda: rnnfast.pad([a, a.astype("f")]), TypeError, r"sequences\[1\] has dtype float32, exp"),
    (lambda: rnnfast.pad([a, a[:, :2]]), ValueError, r"sequences\[1\] has shape \(2, 2\), expect"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "words"), PAD)
def test_bad_pad(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=f"^{words}"):
        call()


# ------------------------------------------------------------------ gates


def test_own_order_is_the_reference_s() -> None:
    for cell in CELLS.values():
        family = cell.name.partition("_")[0]
        order = [gate for stage in cell.stages for gate in stage.gates]
        if family not in gates.GATES:  # a cell of ours alone: no other system's order to permute
            continue
        if family == "rnn":
            assert len(order) == len(gates.GATES["rnn"]["rnnfast"]) == 1
        else:
            assert "".join(order) == gates.GATES[family]["rnnfast"]


@pytest.mark.parametrize("axis", [0, -1, 1])
@pytest.mark.parametrize("cell", gates.GATES)
def test_permute(cell: str, axis: int) -> None:
    own = gates.GATES[cell]["rnnfast"]
    names = np.array(list(own))
    for system, order in gates.GATES[cell].items():
        assert sorted(order) == sorted(own)
        # Each entry says which gate and unit it belongs to: "f1".
        theirs = np.array([f"{gate}{unit}" for gate in order for unit in range(2)])
        ours = np.array([f"{gate}{unit}" for gate in names for unit in range(2)])
        shape = (-1, 1) if axis == 0 else (1, -1)
        got = gates.permute(theirs.reshape(shape), cell, source=system, axis=axis)
        assert_array_equal(got, ours.reshape(shape))
        back = gates.permute(got, cell, source="rnnfast", target=system, axis=axis)
        assert_array_equal(back, theirs.reshape(shape))


def test_permute_axes_from_the_end() -> None:
    W = np.arange(24.0).reshape(8, 3)
    for axis in (0, -2):
        assert_array_equal(gates.permute(W, "lstm", source="onnx", axis=axis)[2:4], W[4:6])
    with pytest.raises(ValueError, match="axis is -3, expected one of the 2 axes of W"):
        gates.permute(W, "lstm", source="onnx", axis=-3)


def test_known_orders() -> None:
    lstm, gru = np.array(list("iofg")), np.array(list("zrn"))
    assert "".join(gates.permute(lstm, "lstm", source="onnx")) == "ifgo"
    assert "".join(gates.permute(lstm, "lstm", source="onnx", target="keras")) == "ifgo"
    assert "".join(gates.permute(gru, "gru", source="keras")) == "rzn"
    assert "".join(gates.permute(lstm[:3], "peephole", source="onnx")) == "ifo"


w = np.zeros((8, 2))
GATES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: gates.permute(w, "mgu", source="onnx"), ValueError,
        "cell is 'mgu', expected one of lstm",
    ),
    (
        lambda: gates.permute(w, "lstm", source="mxnet"), ValueError,
        "source is 'mxnet', expected one of rnn",
    ),
    (
        lambda: gates.permute(w, "lstm", source="onnx", target="x"), ValueError,
        "target is 'x', expected one",
    ),
    (
        lambda: gates.permute(w[:7], "lstm", source="onnx"), ValueError,
        r"W has shape \(7, 2\), expected axis 0",
    ),
    (
        lambda: gates.permute(w, "lstm", source="onnx", axis=2), ValueError,
        "axis is 2, expected one of the 2",
    ),
    (
        lambda: gates.permute([1.0], "lstm", source="onnx"), TypeError,
        "W is a list, expected an ndarray",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "words"), GATES)
def test_bad_gates(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()

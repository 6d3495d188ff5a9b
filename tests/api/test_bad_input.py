"""Bad arguments of constructors and calls: each error names what came and what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rnnfast
from layer_problems import B, H, I, T
from rnnfast import LSTM, RNN, Dense, Dropout, Embedding, Sequential
from rnnfast.layers import Recurrent

Case = tuple[Callable[[], Any], type[Exception], str]

CONSTRUCTORS: list[Case] = [
    (lambda: LSTM(-1, 4), ValueError, r"input_size is -1, expected an integer >= 0"),
    (lambda: LSTM(3, 0), ValueError, r"hidden_size is 0, expected an integer >= 1"),
    (lambda: LSTM(3, -2), ValueError, r"hidden_size is -2, expected an integer >= 1"),
    (lambda: LSTM(3, 4.0), TypeError, r"hidden_size is 4.0, expected an integer >= 1"),
    (lambda: LSTM(3, True), TypeError, r"hidden_size is True, expected an integer >= 1"),
    (lambda: LSTM("3", 4), TypeError, r"input_size is '3', expected an integer >= 0"),
    (lambda: LSTM(3, 4, 0), ValueError, r"num_layers is 0, expected an integer >= 1"),
    (lambda: LSTM(3, 4, dropout=1.0), ValueError, r"dropout is 1.0, expected a number in \[0, 1\)"),
    (lambda: LSTM(3, 4, dropout=-0.1), ValueError, r"dropout is -0.1, expected a number in \[0, 1"),
    (lambda: LSTM(3, 4, dropout=float("nan")), ValueError, r"dropout is nan, expected a number in"),
    (lambda: LSTM(3, 4, dropout="no"), TypeError, r"dropout is 'no', expected a number in \[0, 1"),
    (lambda: LSTM(3, 4, dtype="float16"), TypeError, r"dtype is 'float16', expected float32 or f"),
    (
        lambda: LSTM(3, 4, dtype="int32"), TypeError,
        r"dtype is 'int32', expected float32 or float64",
    ),
    (lambda: LSTM(3, 4, dtype=">f4"), TypeError, r"dtype is '>f4', expected float32 or float64 in"),
    (lambda: LSTM(3, 4, dtype="fast"), TypeError, r"dtype is 'fast', expected float32 or float64"),
    (lambda: LSTM(3, 4, rng=1.5), TypeError, r"^rng is 1.5, expected None, an integer >= 0, a seq"),
    (lambda: LSTM(3, 4, rng=-1), ValueError, r"^rng is -1, expected None, an integer >= 0, a seq"),
    (
        lambda: RNN(3, 4, activation="gelu"), ValueError,
        r"activation is 'gelu', expected one of tanh",
    ),
    (
        lambda: RNN(3, 4, activation=np.tanh), TypeError,
        r"activation is .*, expected one of tanh, r",
    ),
    (lambda: rnnfast.GRU(3, 4, reset="never"), ValueError, r"reset is 'never', expected one of a"),
    (lambda: Recurrent("cwrnn", 3, 4), ValueError, r"cell is 'cwrnn', expected one of rnn_tanh, "),
    (lambda: LSTM(3, 4, bias="no"), TypeError, "^bias is 'no', expected True or False"),
    (lambda: LSTM(3, 4, peephole=1), TypeError, "^peephole is 1, expected True or False"),
    (lambda: LSTM(3, 4, batch_first=None), TypeError, "^batch_first is None, expected True or F"),
    (lambda: LSTM(3, 4, bidirectional=[]), TypeError, r"^bidirectional is \[\], expected True or"),
    (lambda: Dense(3, 4, bias="no"), TypeError, "^bias is 'no', expected True or False"),
    (lambda: Dense(3, 4, batch_first=2), TypeError, "^batch_first is 2, expected True or False"),
    (lambda: Embedding(3, 4, sparse="yes"), TypeError, "^sparse is 'yes', expected True or False"),
    (lambda: Embedding(3, 4, batch_first=0), TypeError, "^batch_first is 0, expected True or Fal"),
    (lambda: LSTM(3, 4, clip=1.0), TypeError, r"unexpected keyword argument 'clip'"),
    (lambda: Dense(-1, 2), ValueError, r"input_size is -1, expected an integer >= 0"),
    (lambda: Dense(3, 0), ValueError, r"output_size is 0, expected an integer >= 1"),
    (
        lambda: Dense(3, 2, activation="gelu"), ValueError,
        r"activation is 'gelu', expected one of i",
    ),
    (lambda: Dense(3, 2, dtype="c8"), TypeError, r"dtype is 'c8', expected float32 or float64"),
    (lambda: Embedding(0, 3), ValueError, r"num_embeddings is 0, expected an integer >= 1"),
    (lambda: Embedding(5, 0), ValueError, r"embedding_dim is 0, expected an integer >= 1"),
    (lambda: Dropout(1), ValueError, r"p is 1.0, expected a number in \[0, 1\)"),
    (
        lambda: Dropout(dtype="float16"), TypeError,
        r"dtype is 'float16', expected float32 or float64",
    ),
    (lambda: Sequential(), ValueError, r"layers is empty, expected at least one layer"),
    (lambda: Sequential(np.tanh), TypeError, r"layers\[0\] is a ufunc, expected a Layer"),
    (
        lambda: Sequential(LSTM(3, 4), Dense(5, 2)),
        ValueError, r"layers\[1\] = Dense\(5, 2\) has input_size 5, expected 4",
    ),
    (
        lambda: Sequential(LSTM(3, 4, bidirectional=True), Dropout(), Dense(4, 2)),
        ValueError, r"layers\[2\] = Dense\(4, 2\) has input_size 4, expected 8",
    ),
    (
        lambda: Sequential(Embedding(5, 3), Dense(4, 2)),
        ValueError, r"layers\[1\] = Dense\(4, 2\) has input_size 4, expected 3",
    ),
    (
        lambda: Sequential(LSTM(3, 4), Dense(4, 2, dtype="float64")),
        TypeError, r"layers\[1\] = Dense.* has dtype float64, expected float32",
    ),
    (
        lambda: Sequential(LSTM(3, 4, batch_first=True), Dropout(), Dense(4, 2)),
        ValueError, r"layers\[2\] = Dense\(4, 2\) has batch_first=False, expected True",
    ),
    (
        lambda: Sequential(LSTM(3, 4), Embedding(4, 2)),
        ValueError, r"layers\[1\] = Embedding\(4, 2\) takes ids, expected it to be the first",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "words"), CONSTRUCTORS)
def test_constructors(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()


def x(*shape: int) -> Any:
    return np.zeros(shape or (T, B, I), np.float32)


lstm = LSTM(I, H, 2, bidirectional=True, rng=0)
gru = rnnfast.GRU(I, H, batch_first=True, rng=0)
dense = Dense(I, 2, rng=0)
embedding = Embedding(7, 2, rng=0)
stateless = Sequential(dense, Dropout())
many = x(4, B, H)

CALLS: list[Case] = [
    (
        lambda: lstm(x(T, B, 2)), ValueError,
        r"x has shape \(5, 4, 2\), expected \(T, B, I\) or \(T, I\) with I = 3",
    ),
    (
        lambda: gru(x(B, T, 2)), ValueError,
        r"x has shape \(4, 5, 2\), expected \(B, T, I\) or \(T, I\)",
    ),
    (lambda: lstm(x(I)), ValueError, r"x has shape \(3,\), expected \(T, B, I\)"),
    (lambda: lstm(x(2, T, B, I)), ValueError, r"x has shape \(2, 5, 4, 3\), expected \(T, B, I\)"),
    (lambda: lstm(x().astype("float64")), TypeError, r"x has dtype float64, expected float32"),
    (lambda: lstm(x().astype("float16")), TypeError, r"x has dtype float16, expected float32"),
    (lambda: lstm(x().astype(">f4")), TypeError, r"x has dtype >f4, expected float32"),
    (lambda: lstm(x().astype(int)), TypeError, r"x has dtype int64, expected float32"),
    (lambda: lstm(x().astype(object)), TypeError, r"x has dtype object, expected float32"),
    (lambda: lstm(x().astype(complex)), TypeError, r"x has dtype complex128, expected float32"),
    (lambda: lstm(x().tolist()), TypeError, r"x is a list, expected a float32 ndarray"),
    (lambda: lstm(None), TypeError, r"x is a NoneType, expected a float32 ndarray"),
    (
        lambda: lstm(x(), [5, 3, 2, 1]), TypeError,
        r"^state is \[5, 3, 2, 1\], expected a state: lengths is the third argument, lengths=",
    ),
    (lambda: lstm(x(T, 1, I), [5]), TypeError, r"^state is \[5\], expected a state: lengths is th"),
    (lambda: gru(x(B, T, I), np.array([5, 3])), TypeError, r"^state is array\(\[5, 3\]\), expe"),
    (lambda: dense(x(), (5, 3)), TypeError, r"^state is \(5, 3\), expected a state: lengths is"),
    (lambda: stateless(x(), [5, 3]), TypeError, r"^state is \[5, 3\], expected a state: lengths"),
    (
        lambda: lstm(x().astype("float64")), TypeError,
        r'^x has dtype float64, expected float32: .*astype\("float32"\), or .* dtype="float64"',
    ),
    (
        lambda: dense(x().astype("float64")), TypeError,
        r'^x has dtype float64, expected float32: .*astype\("float32"\), or .* dtype="float64"',
    ),
    (lambda: LSTM(np.array([3, 4]), 4), TypeError, r"^input_size is a int64 ndarray of shape \(2,"),
    (lambda: lstm(x(), many), TypeError, r"state is a ndarray, expected a tuple of 2"),
    (lambda: lstm(x(), ()), ValueError, r"state has 0 parts, expected 2"),
    (lambda: stateless(x(), ()), ValueError, r"state has 0 parts, expected 2"),
    (lambda: gru(x(B, T, I), x(H)), ValueError, r"state has shape \(6,\), expected \(1, 4, 6\)"),
    (lambda: gru(x(B, T, I), x(1, B, H).astype(int)), TypeError, r"state has dtype int64, expec"),
    (lambda: lstm(x(), (many,)), ValueError, r"state has 1 parts, expected 2"),
    (
        lambda: lstm(x(), (many, many[1:])), ValueError,
        r"state\[1\] has shape \(3, 4, 6\), expected \(4, 4, 6\)",
    ),
    (
        lambda: lstm(x(), (many, many.astype(float))), TypeError,
        r"state\[1\] has dtype float64, expected float32",
    ),
    (
        lambda: lstm(x(), (many.tolist(), None)), TypeError,
        r"state\[0\] is a list, expected a float32",
    ),
    (
        lambda: gru(x(B, T, I), (x(1, B, H), None)), TypeError,
        r"state is a tuple, expected a float32 ndarray",
    ),
    (
        lambda: gru(x(B, T, I), x(1, T, H)), ValueError,
        r"state has shape \(1, 5, 6\), expected \(1, 4, 6\)",
    ),
    (
        lambda: gru(x(T, I), x(1, 1, H)), ValueError,
        r"state has shape \(1, 1, 6\), expected \(1, 6\)",
    ),
    (lambda: lstm(x(), None, [5, 5, 5]), ValueError, r"lengths has 3 entries, expected B = 4"),
    (
        lambda: lstm(x(), None, [5, 5, 5, 6]), ValueError,
        r"lengths\[3\] is 6, expected 0 <= length <= T = 5",
    ),
    (
        lambda: lstm(x(), None, [5, 5, 5, -1]), ValueError,
        r"lengths\[3\] is -1, expected 0 <= length",
    ),
    (
        lambda: lstm(x(), None, [1, 2, 3, 4.0]), TypeError,
        r"lengths\[3\] is a float, expected an integer",
    ),
    (
        lambda: lstm(x(), None, np.ones(B, bool)), TypeError,
        r"lengths has dtype bool, expected integers",
    ),
    (
        lambda: lstm(x(), None, [True] * B), TypeError,
        r"lengths\[0\] is a bool, expected an integer",
    ),
    (
        lambda: lstm(x(), None, np.ones(B)), TypeError,
        r"lengths has dtype float64, expected integers",
    ),
    (lambda: lstm(x(), None, 3), TypeError, r"lengths is a int, expected a list or array"),
    (
        lambda: lstm(x(T, I), None, [5]), ValueError,
        r"lengths is not allowed with an x of shape \(T, I\)",
    ),
    (
        lambda: dense(x(T, B, 2)), ValueError,
        r"x has shape \(5, 4, 2\), expected \(..., H\) with H = 3",
    ),
    (lambda: dense(x().astype(float)), TypeError, r"x has dtype float64, expected float32"),
    (lambda: dense(x()[0, 0, 0]), TypeError, r"x is a float32, expected a float32 ndarray"),
    (lambda: dense(x(), x()), TypeError, r"state is a ndarray, expected None: there is no state"),
    (
        lambda: dense(x(B, I), lengths=[1] * B), ValueError,
        r"lengths is not allowed with the leading axes \(4,\), expected \(T, B\)",
    ),
    (
        lambda: dense(x(), lengths=[1, 2]), ValueError,
        r"^lengths has 2 entries, expected B = 4",
    ),
    (
        lambda: dense(x(), lengths=np.array([0, 1, -2, 5])), ValueError,
        r"^lengths\[2\] is -2, expected 0 <= length <= T = 5$",
    ),
    (
        lambda: dense(x(), lengths=[0, 1, 2, 6]), ValueError,
        r"^lengths\[3\] is 6, expected 0 <= length <= T = 5$",
    ),
    (
        lambda: dense(x(), lengths=np.ones(B, bool)), TypeError,
        r"lengths has dtype bool, expected integers",
    ),
    (
        lambda: dense(x(), lengths=[True, 2, 2, 2]), TypeError,
        r"^lengths\[0\] is a bool, expected an integer$",
    ),
    (
        lambda: dense(x(), lengths=np.ones(B)), TypeError,
        r"lengths has dtype float64, expected integers",
    ),
    (
        lambda: dense(x(), lengths="1234"), TypeError,
        r"lengths is a str, expected a list or array of int",
    ),
    (
        lambda: dense(x(), return_sequence=False), ValueError,
        r"return_sequence is False, expected True: Dense has no",
    ),
    (
        lambda: stateless(x(), return_sequence=False), ValueError,
        r"return_sequence is False, expected True: no layer",
    ),
    (lambda: embedding(x()), TypeError, r"x has dtype float32, expected an array of integers"),
    (lambda: embedding(x().astype(bool)), TypeError, r"x has dtype bool, expected an array of"),
    (lambda: embedding((1, 2)), TypeError, r"^x is a tuple, expected an array of integers, a li"),
    (lambda: embedding(True), TypeError, r"^x is a bool, expected an array of integers, a list"),
    (lambda: embedding([1, 2.0]), TypeError, r"^x has dtype float64, expected an array of inte"),
    (lambda: embedding([[1], [1, 2]]), ValueError, r"^x has lists of different lengths, expect"),
    (lambda: embedding(7), ValueError, r"^x contains the id 7, expected 0 <= id < num_embeddin"),
    (
        lambda: embedding(np.array([[0, 7]])), ValueError,
        r"x contains the id 7, expected 0 <= id < num_embeddings = 7",
    ),
    (
        lambda: embedding(np.array([[-1]])), ValueError,
        r"x contains the id -1, expected 0 <= id < num_embeddings = 7",
    ),
    (lambda: Dropout()(x().astype(int)), TypeError, r"x has dtype int64, expected float32"),
    (lambda: stateless(x(), (None,)), ValueError, r"state has 1 parts, expected 2"),
    (lambda: stateless(x(), x()), TypeError, r"state is a ndarray, expected a tuple of 2"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "words"), CALLS)
def test_calls(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    layers: tuple[Any, ...] = (lstm, gru, dense, embedding)
    before = [{key: p.copy() for key, p in layer.params.items()} for layer in layers]
    with pytest.raises(kind, match=words):
        call()
    for layer, params in zip(layers, before, strict=True):
        for key, p in layer.params.items():
            np.testing.assert_array_equal(p, params[key])


@pytest.mark.parametrize("bad", ["x", "state", "lengths"])
def test_vjp_checks_like_a_call(bad: str) -> None:
    arguments: dict[str, Any] = {"x": x(), "state": None, "lengths": None}
    arguments[bad] = "wrong"
    with pytest.raises(TypeError, match=f"{bad} is a str"):
        lstm.vjp(**arguments)


def test_final_state_gradient_of_the_wrong_kind() -> None:
    y, (h, _), pullback = lstm.vjp(x())
    for dstate, kind, words in (
        (h, TypeError, "dstate is a ndarray, expected a tuple of 2"),
        ((h, h, h), ValueError, "dstate has 3 parts, expected 2"),
        ((h, h[1:]), ValueError, r"dstate\[1\] has shape \(3, 4, 6\), expected \(4, 4, 6\)"),
    ):
        with pytest.raises(kind, match=words):
            pullback(y, dstate)
    pullback(y, (h, h))


@pytest.mark.parametrize(("lr", "shown"), [(10**400, "inf"), (-(10**400), "-inf")])
def test_an_integer_beyond_all_floats(lr: int, shown: str) -> None:
    with pytest.raises(ValueError, match=f"^lr is {shown}, expected a number in "):
        rnnfast.optim.SGD({"w": np.zeros(3)}, lr=lr)


def test_advice_only_where_it_helps() -> None:
    with pytest.raises(TypeError, match=r"^x has dtype int64, expected float32$"):
        LSTM(3, 4)(np.ones((2, 1, 3), np.int64))
    advice = r"^x has dtype float64, expected float32: convert it with .astype\(\"float32\"\)"
    with pytest.raises(TypeError, match=advice):
        LSTM(3, 4)(np.ones((2, 1, 3)))


def test_a_frozen_layer_is_named() -> None:
    layer = LSTM(3, 4, rng=0)
    params = {name: p.copy() for name, p in layer.params.items()}
    layer.freeze()
    with pytest.raises(ValueError, match=r"^weight_ih_l0 is read-only, expected a writeable array"):
        layer.load(params)

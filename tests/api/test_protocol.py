"""What all layers share: copies, freezing, loading, threads, text."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import rnnfast
from layer_problems import B, T, make_layer_problem
from numpy.testing import assert_array_equal
from problems import Array, assert_same_bits
from rnnfast.layers import Layer, Recurrent


def make_layers() -> dict[str, tuple[Layer, Array]]:
    """One of each kind, with an input."""
    x = np.random.default_rng(0).standard_normal((T, B, 3)).astype(np.float32)
    ids = np.random.default_rng(0).integers(0, 7, (T, B))
    return {
        "RNN": (rnnfast.RNN(3, 4, activation="relu", rng=1), x),
        "LSTM": (rnnfast.LSTM(3, 4, 2, bidirectional=True, peephole=True, rng=1), x),
        "GRU": (rnnfast.GRU(3, 4, reset="before", rng=1), x),
        "Recurrent": (Recurrent("lstm", 3, 4, rng=1), x),
        "Dense": (rnnfast.Dense(3, 2, activation="softmax", rng=1), x),
        "Embedding": (rnnfast.Embedding(7, 3, rng=1), ids),
        "Dropout": (rnnfast.Dropout(0.5), x),
        "Sequential": (
            rnnfast.Sequential(
                rnnfast.Embedding(7, 3, rng=1),
                rnnfast.LSTM(3, 4, dropout=0.1, num_layers=2, rng=2),
                rnnfast.Dense(4, 2, rng=3),
            ),
            ids,
        ),
    }


every_layer = pytest.mark.parametrize("name", make_layers())
COPIES = {
    **{f"pickle {n}": lambda x, n=n: pickle.loads(pickle.dumps(x, n)) for n in (2, 4, 5)},
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("frozen", [False, True])
@every_layer
def test_copies(name: str, frozen: bool, how: str) -> None:
    layer, x = make_layers()[name]
    if frozen:
        layer.freeze()
    y, _ = layer(x)
    twin = COPIES[how](layer)
    assert repr(twin) == repr(layer)
    assert_same_bits(twin.params, layer.params)
    assert_array_equal(twin(x)[0], y)
    for key, p in twin.params.items():
        assert not np.shares_memory(p, layer.params[key])
        assert p.flags.writeable == (not frozen)
    twin.unfreeze()
    for p in twin.params.values():
        p[...] = 0.0
    assert_array_equal(layer(x)[0], y)
    if twin.params:
        assert not np.array_equal(twin(x)[0], y)


@every_layer
def test_freeze_and_unfreeze(name: str) -> None:
    layer, x = make_layers()[name]
    y, _ = layer(x)
    layer.freeze()
    assert_array_equal(layer(x)[0], y)
    for p in layer.params.values():
        with pytest.raises(ValueError, match="read-only"):
            p[...] = 0.0
    if layer.params:
        with pytest.raises(
            ValueError, match=r"read-only, expected a writeable array: .* unfreeze it"
        ):
            layer.load(layer.params)
    layer.unfreeze()
    for p in (*layer.params.values(), *copy.deepcopy(layer).params.values()):
        p[...] = 0.0
    if layer.params:
        assert not np.array_equal(layer(x)[0], y)


@every_layer
def test_load(name: str) -> None:
    layer, x = make_layers()[name]
    other = copy.deepcopy(layer)
    for p in other.params.values():
        p += 1
    kept = dict(other.params)
    other.load(layer.params)
    assert_same_bits(other.params, layer.params)
    assert all(other.params[key] is p for key, p in kept.items())
    assert_array_equal(other(x)[0], layer(x)[0])


def test_load_of_its_own_arrays() -> None:
    """Two directions exchanged, and two of one layer's arrays shared with another's."""
    bi = rnnfast.LSTM(3, 4, bidirectional=True, rng=1)
    before = bi.params.copy()

    def other(name: str) -> str:
        return name.removesuffix("_reverse") if "_reverse" in name else name + "_reverse"

    bi.load({name: bi.params[other(name)] for name in bi.params})
    assert_same_bits(bi.params, {name: before[other(name)] for name in before})
    chain = rnnfast.Sequential(rnnfast.Dense(4, 4, rng=1), rnnfast.Dense(4, 4, rng=2))
    before = chain.params.copy()
    one, two = chain
    swapped = {f"0.{k}": p for k, p in two.params.items()}
    chain.load(swapped | {f"1.{k}": p for k, p in one.params.items()})
    assert_same_bits(one.params, {k: before[f"1.{k}"] for k in one.params})
    assert_same_bits(two.params, {k: before[f"0.{k}"] for k in two.params})
    chain.load(chain.params)
    assert_same_bits(one.params, {k: before[f"1.{k}"] for k in one.params})


def test_a_copy_of_a_frozen_layer_is_never_stale() -> None:
    x = np.ones((T, B, 3), np.float32)
    layer = rnnfast.LSTM(3, 4, rng=1)
    twin = copy.copy(layer)
    layer.freeze()
    twin.unfreeze()
    for p in twin.params.values():
        p[...] = 0
    assert not twin(x)[0].any()
    assert layer(x)[0].all()
    assert all(p.any() for p in layer.params.values())


OPTIONS: list[tuple[type[Layer], dict[str, Any]]] = [
    (
        rnnfast.LSTM,
        {
            "input_size": 3, "hidden_size": 4, "num_layers": 2, "peephole": True, "bias": False,
            "batch_first": True, "dropout": 0.25, "bidirectional": True, "dtype": "float64",
        },
    ),
    (
        rnnfast.RNN,
        {
            "input_size": 3, "hidden_size": 4, "num_layers": 2, "activation": "relu",
            "bias": False, "batch_first": True, "dropout": 0.25, "bidirectional": True,
            "dtype": "float64",
        },
    ),
    (
        rnnfast.GRU,
        {
            "input_size": 3, "hidden_size": 4, "num_layers": 2, "reset": "before", "bias": False,
            "batch_first": True, "dropout": 0.25, "bidirectional": True, "dtype": "float64",
        },
    ),
    (
        Recurrent,
        {
            "cell": "gru_before", "input_size": 3, "hidden_size": 4, "num_layers": 2,
            "bias": False, "batch_first": True, "dropout": 0.25, "bidirectional": True,
            "dtype": "float64",
        },
    ),
    (
        rnnfast.Dense,
        {
            "input_size": 3, "output_size": 4, "activation": "tanh", "bias": False,
            "batch_first": True, "dtype": "float64",
        },
    ),
    (
        rnnfast.Embedding,
        {
            "num_embeddings": 9, "embedding_dim": 4, "sparse": True, "batch_first": True,
            "dtype": "float64",
        },
    ),
    (rnnfast.Dropout, {"p": 0.25, "dtype": "float64"}),
]  # fmt: skip


@pytest.mark.parametrize("kind", [rnnfast.RNN, rnnfast.LSTM, rnnfast.GRU])
def test_arguments_left_out(kind: type[Layer]) -> None:
    own = {rnnfast.RNN: {"activation": "tanh"}, rnnfast.LSTM: {"peephole": False}}
    shared = {
        "input_size": 3, "hidden_size": 4, "num_layers": 1, "bias": True, "batch_first": False,
        "dropout": 0.0, "bidirectional": False, "dtype": "float32",
    }  # fmt: skip
    assert kind(3, 4).config() == shared | own.get(kind, {"reset": "after"})  # type: ignore[call-arg]
    one, two, other = (kind(3, 4, rng=seed) for seed in (1, 1, 2))  # type: ignore[call-arg]
    assert_same_bits(one.params, two.params)
    assert not np.array_equal(one.params["bias_ih_l0"], other.params["bias_ih_l0"])
    assert Recurrent("lstm", 3, 4).config() == shared | {"cell": "lstm"}


def test_names_without_bias() -> None:
    assert list(rnnfast.GRU(3, 4, bias=False).params) == ["weight_ih_l0", "weight_hh_l0"]


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_config_is_the_arguments(kind: type[Layer], options: dict[str, Any]) -> None:
    """All of them differ from the defaults; a layer written as JSON, or copied, does the same."""
    layer = kind(**options, **({} if kind is rnnfast.Dropout else {"rng": 1}))
    assert layer.config() == options
    defaults = inspect.signature(kind).parameters
    assert all(defaults[name].default != value for name, value in options.items())
    assert set(options) | {"rng"} >= set(defaults)
    x: Any = np.random.default_rng(0).standard_normal((B, T, 3))
    x = np.arange(B * T).reshape(B, T) % 9 if layer.takes_ids else x
    lengths = [5, 0, 3, 1]
    y, _ = layer(x, lengths=lengths)
    for again in (kind(**json.loads(json.dumps(layer.config()))), copy.deepcopy(layer)):
        again.load(layer.params)
        assert again.config() == options
        assert_array_equal(again(x, lengths=lengths)[0], y)
        chain = rnnfast.Sequential(again)
        assert_array_equal(chain(x, lengths=lengths)[0], y)
        chain = pickle.loads(pickle.dumps(chain))
        assert_array_equal(chain(x, lengths=lengths)[0], y)


@every_layer
def test_bad_load_changes_nothing(name: str) -> None:
    layer, _ = make_layers()[name]
    if not layer.params:
        return
    before = {key: p.copy() for key, p in layer.params.items()}
    good = {key: p + 1 for key, p in layer.params.items()}
    last = list(good)[-1]
    cases: list[tuple[Any, type[Exception], str]] = [
        (good | {last: good[last][:-1]}, ValueError, r"has shape .*, expected "),
        (good | {last: good[last].astype(float)}, TypeError, "dtype float64, expected float32"),
        (good | {last: good[last].tolist()}, TypeError, "is a list, expected a float32 ndarray"),
        (good | {"more": good[last]}, ValueError, r"missing \[\], unexpected \['more'\]"),
        ({key: good[key] for key in good if key != last}, ValueError, f"missing .'{last}'"),
        (list(good.values()), TypeError, "params is a list, expected a mapping"),
    ]
    for params, kind, words in cases:
        with pytest.raises(kind, match=words):
            layer.load(params)
        assert_same_bits(layer.params, before)


@every_layer
def test_threads_share_a_layer(name: str) -> None:
    """Forward and backward from many threads at once give one thread's bits."""
    layer, _ = make_layers()[name]
    given = make_layers()[name][1]
    inputs = [np.roll(given, k, axis=0) for k in range(16)]

    def everything(x: Array) -> dict[str, Array]:
        y, _, pullback = layer.vjp(x, rng=7)
        grads = pullback(y).params
        return {"y": y, "call": layer(x)[0]} | grads

    want = [everything(x) for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        for got, expected in zip(pool.map(everything, inputs), want, strict=True):
            assert_same_bits(got, expected)


@every_layer
def test_results_can_be_written(name: str) -> None:
    """What a pullback shares with the caller is read-only; writing the rest changes nothing."""
    layer, x = make_layers()[name]
    y, _, pullback = layer.vjp(x, rng=1)
    dy = y.copy()
    want = pullback(dy).params
    y, final, pullback = layer.vjp(x, rng=1)
    for result in (y, *arrays_of(final)):
        if result.flags.writeable:
            result[...] = np.nan
    grads = pullback(dy).params
    assert_same_bits(grads, want)


def arrays_of(state: Any) -> list[Array]:
    if isinstance(state, tuple):
        return [array for part in state for array in arrays_of(part)]
    return [] if state is None else [state]


@every_layer
def test_skip_everything(name: str) -> None:
    layer, x = make_layers()[name]
    y, _, pullback = layer.vjp(x, need_x=True)
    dx, _, grads = pullback(y, skip=["x", *layer.params])
    assert dx is None
    assert grads == {}


def test_pullbacks_from_other_threads() -> None:
    problem = make_layer_problem(Recurrent("gru_after", 3, 6, 2, dtype="float64", rng=1))
    want = problem.vjp()
    made = [problem.layer.vjp(problem.x, problem.state[0], need_x=True)[2] for _ in range(16)]
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda pullback: pullback(problem.dy, problem.dstate[0]), made)
        for dx, _, grads in results:
            assert dx is not None
            assert_array_equal(dx, want["dx"])
            for key, grad in grads.items():
                assert_array_equal(grad, want[f"d{key}"])


@every_layer
def test_inputs_are_unchanged(name: str) -> None:
    layer, x = make_layers()[name]
    before = x.copy()
    params = {key: p.copy() for key, p in layer.params.items()}
    y, _, pullback = layer.vjp(x, rng=1)
    layer(x)
    dy = np.ones_like(y)
    pullback(dy)
    assert_array_equal(x, before)
    assert_array_equal(dy, 1)
    assert_same_bits(layer.params, params)


def test_repr_makes_the_layer_again() -> None:
    assert repr(rnnfast.LSTM(3, 4)) == "LSTM(3, 4)"
    assert repr(rnnfast.GRU(3, 4, 2, dropout=0.25, reset="before", rng=1)) == (
        "GRU(3, 4, num_layers=2, reset='before', dropout=0.25)"
    )
    for layer, _ in make_layers().values():
        again = eval(repr(layer), {**vars(rnnfast), "Recurrent": Recurrent})
        assert repr(again) == repr(layer)
        assert type(again) is type(layer)
        assert {k: p.shape for k, p in again.params.items()} == {
            k: p.shape for k, p in layer.params.items()
        }


def test_bad_protocol_arguments() -> None:
    for layer, x in make_layers().values():
        y, _, pullback = layer.vjp(x, rng=1, need_x=True)
        cases: list[tuple[Any, type[Exception], str]] = [
            (lambda p=pullback, y=y: p(y[:-1]), ValueError, "dy has shape"),
            (lambda p=pullback, y=y: p(y.astype(float)), TypeError, "dy has dtype float64"),
            (lambda p=pullback, y=y: p(y.tolist()), TypeError, "dy is a list"),
            (lambda p=pullback: p(skip=("y",)), ValueError, r"skip contains \['y'\], expected 'x'"),
            (lambda p=pullback: p(dstate="zero"), TypeError, "dstate is a str"),
            (lambda layer=layer, x=x: layer(tuple(x)), TypeError, "x is a tuple"),
            (lambda layer=layer, x=x: layer(x, "zero"), TypeError, "state is a str"),
            (lambda layer=layer, x=x: layer.vjp(x.astype(complex)), TypeError, "x has dtype comp"),
        ]
        for call, kind, words in cases:
            with pytest.raises(kind, match=words):
                call()
        assert (pullback(y).x is None) == layer.takes_ids  # not used up by the errors
    lstm = rnnfast.LSTM(3, 4, 2, dropout=0.5)
    with pytest.raises(TypeError, match=r"^rng is 'now', expected None, an integer >= 0"):
        lstm.vjp(np.ones((T, B, 3), np.float32), rng="now")  # type: ignore[arg-type]


def test_errors_in_a_chain_name_the_layer() -> None:
    layer, ids = make_layers()["Sequential"]
    with pytest.raises(TypeError, match="state is a ndarray, expected a tuple of 2") as caught:
        layer(ids, (None, np.zeros((2, B, 4), np.float32), None))
    assert caught.value.__notes__ == [f"in layers[1] = {layer[1]!r}"]  # type: ignore[attr-defined]

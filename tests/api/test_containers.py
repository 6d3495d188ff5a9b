"""Sequential with names and Group: children, parameters, copies, tied layers."""

from __future__ import annotations

import copy
import pickle
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rnnfast
from layer_problems import B, T
from numpy.testing import assert_array_equal
from problems import assert_same_bits
from rnnfast import GRU, LSTM, Dense, Dropout, Embedding, Group, Sequential, optim
from rnnfast.layers import Gradients


def make_layers() -> dict[str, Any]:
    return {"emb": Embedding(7, 3, rng=1), "rnn": LSTM(3, 4, rng=2), "out": Dense(4, 2, rng=3)}


def make_group() -> Group:
    return Group(
        enc=GRU(2, 4, rng=1),
        heads=Group(one=Dense(4, 2, rng=2), two=Sequential(out=Dense(4, 1, rng=3))),
    )


ids = np.random.default_rng(0).integers(0, 7, (T, B))


def test_names_do_what_numbers_do() -> None:
    named, numbered = Sequential(**make_layers()), Sequential(*make_layers().values())
    assert list(named.params) == [
        "emb.weight", "rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0",
        "out.weight", "out.bias",
    ]  # fmt: skip
    assert next(iter(numbered.params)) == "0.weight"
    y, state, pullback = named.vjp(ids)
    want, want_state, want_pullback = numbered.vjp(ids)
    assert_array_equal(y, want)
    assert_array_equal(np.stack(state[1]), np.stack(want_state[1]))
    grads, want_grads = pullback(y), want_pullback(y)
    assert isinstance(grads, Gradients)
    assert list(grads.params) == list(named.params)
    for grad, expected in zip(grads.params.values(), want_grads.params.values(), strict=True):
        assert_array_equal(grad, expected)
    left_out = ("rnn.weight_hh_l0", "out.bias")
    some = named.vjp(ids)[2](y, skip=left_out).params
    assert some.keys() == grads.params.keys() - set(left_out)


def test_children() -> None:
    layers = make_layers()
    for model in (Sequential(**layers), Group(**layers)):
        assert model["rnn"] is model[1] is model[-2] is model[np.int64(1)] is layers["rnn"]
        assert len(model) == 3
        assert list(model) == list(layers.values())
        assert model.children == layers
        with pytest.raises(KeyError, match=r"key is 'lstm', expected one of emb, rnn, out"):
            model["lstm"]
        with pytest.raises(IndexError, match=r"key is 3, expected an index below 3"):
            model[3]
        with pytest.raises(ValueError, match=r"key is -4, expected an integer >= -3"):
            model[-4]
        with pytest.raises(TypeError, match=r"key is 1.5, expected an integer >= -3"):
            model[1.5]  # type: ignore[index]
    numbered = Sequential(*layers.values())
    assert numbered["0"] is numbered[0] is layers["emb"]


def test_config_makes_its_like() -> None:
    for model in (Sequential(**make_layers()), Sequential(*make_layers().values()), make_group()):
        again = type(model)(**model.config())
        assert repr(again) == repr(model)
        assert all(again.params[name] is p for name, p in model.params.items())


def test_repr() -> None:
    assert repr(make_group()) == (
        "Group(enc=GRU(2, 4), heads=Group(one=Dense(4, 2), two=Sequential(out=Dense(4, 1))))"
    )
    assert repr(Sequential(Dropout(), Dense(4, 2))) == "Sequential(Dropout(), Dense(4, 2))"


def test_group_is_its_modules() -> None:
    group = make_group()
    assert list(group.params) == [
        "enc.weight_ih_l0", "enc.weight_hh_l0", "enc.bias_ih_l0", "enc.bias_hh_l0",
        "heads.one.weight", "heads.one.bias", "heads.two.out.weight", "heads.two.out.bias",
    ]  # fmt: skip
    assert group.params["heads.two.out.bias"] is group["heads"]["two"]["out"].params["bias"]
    assert group.num_parameters == sum(child.num_parameters for child in group)
    best = group.params.copy()
    for p in group.params.values():
        p += 1
    group.load(best)
    assert_same_bits(group.params, best)
    with pytest.raises(ValueError, match=r"missing \['enc.bias_hh_l0'\]"):
        group.load({name: p for name, p in best.items() if name != "enc.bias_hh_l0"})
    with pytest.raises(TypeError, match="not callable"):
        group(ids)  # type: ignore[operator]


def test_group_freezes_its_modules() -> None:
    group = make_group()
    x = np.ones((T, B, 2), np.float32)
    y, _ = group["enc"](x)
    views = [p[:] for p in group.params.values()]
    group.freeze()
    assert not any(p.flags.writeable for p in group.params.values())
    for view in views:
        view *= 2
    assert_array_equal(group["enc"](x)[0], y)  # packed before
    group.unfreeze()
    assert all(p.flags.writeable for p in group.params.values())
    assert not np.array_equal(group["enc"](x)[0], y)


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("how", COPIES)
def test_copies(how: str, frozen: bool) -> None:
    for model in (make_group(), Sequential(**make_layers())):
        if frozen:
            model.freeze()
        twin = COPIES[how](model)
        assert type(twin) is type(model)
        assert repr(twin) == repr(model)
        assert_same_bits(twin.params, model.params)
        before = model.params.copy()
        twin.unfreeze()
        for p in twin.params.values():
            p[...] = 0
        for child in twin:
            assert not any(p.any() for p in child.params.values())
        assert_same_bits(model.params, before)
        assert all(p.flags.writeable == (not frozen) for p in model.params.values())


def test_tied_layers() -> None:
    """A layer twice in a chain: the gradient is the sum of those under both names."""
    rnn = GRU(3, 3, dtype="float64", rng=1)
    tied, two = Sequential(a=rnn, b=rnn), Sequential(a=rnn, b=copy.deepcopy(rnn))
    x = np.random.default_rng(0).standard_normal((T, B, 3))
    y, _, pullback = tied.vjp(x)
    want, _, want_pullback = two.vjp(x)
    assert_array_equal(y, want)
    assert_same_bits(pullback(y).params, want_pullback(y).params)
    assert tied.params["a.bias_ih_l0"] is tied.params["b.bias_ih_l0"]
    assert tied.num_parameters == rnn.num_parameters
    with pytest.raises(ValueError, match="share memory"):
        optim.Adam(tied.params)
    for how in COPIES.values():
        for frozen in (False, True):
            (tied.freeze if frozen else tied.unfreeze)()
            twin = how(tied)
            assert twin["a"] is twin["b"]
            assert twin.params["a.bias_ih_l0"] is twin.params["b.bias_ih_l0"]


def test_errors_name_the_way_to_the_layer() -> None:
    model = Sequential(emb=Embedding(7, 3), rest=Sequential(LSTM(3, 4), Dense(4, 2)))
    with pytest.raises(TypeError, match=r"^state is a ndarray, expected a tuple of 2") as caught:
        model(ids, (None, (np.zeros((1, B, 4)), None)))
    assert caught.value.__notes__ == [  # type: ignore[attr-defined]
        "in layers[0] = LSTM(3, 4)",
        "in rest = Sequential(LSTM(3, 4), Dense(4, 2))",
    ]


def test_docstring_of_group() -> None:
    """The example is an encoder and decoder of which both learn."""
    doc = Group.__doc__ or ""
    example = textwrap.dedent(doc.split("::\n", 1)[1])
    rng = np.random.default_rng(0)
    scope: dict[str, Any] = {
        **vars(rnnfast), "x": rng.standard_normal((T, B, 2), np.float32),
        "x_dec": rng.standard_normal((T, B, 2), np.float32), "target": np.ones((T, B, 2), "f"),
    }  # fmt: skip
    first, rest = example.strip().split("\n", 1)
    exec(first, scope)
    model = scope["model"]
    scope["adam"] = optim.Adam({name: child.params for name, child in model.children.items()})
    before = model.params.copy()
    exec(rest, scope)
    assert all(not np.array_equal(p, before[name]) for name, p in model.params.items())
    assert all(p is scope["adam"].params[name] for name, p in model.params.items())


BAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: Sequential(Dropout(), out=Dense(3, 2)), ValueError, "^layers are given with and wit"),
    (lambda: Sequential(a=Dropout(), b=3), TypeError, "^b is a int, expected a Layer$"),
    (lambda: Sequential(a=Group(b=Dropout())), TypeError, "^a is a Group, expected a Layer$"),
    (lambda: Sequential(**{"a.b": Dropout()}), ValueError, "^'a.b' is no name of a child, expec"),
    (lambda: Group(), ValueError, "^children is empty, expected at least one Module by name"),
    (lambda: Group(a=np.tanh), TypeError, "^a is a ufunc, expected a Module$"),
    (lambda: Group(**{"": Dropout()}), ValueError, "^'' is no name of a child, expected one wit"),
    (lambda: Group(Dropout()), TypeError, "positional argument"),
    (
        lambda: Sequential(rnn=LSTM(3, 4), out=Dense(5, 2)), ValueError,
        r"^out = Dense\(5, 2\) has input_size 5, expected 4",
    ),
    (
        lambda: Sequential(a=Dense(3, 4), b=Dense(4, 4, batch_first=True)), ValueError,
        r"^b = Dense\(4, 4, batch_first=True\) has batch_first=True, expected False",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "words"), BAD)
def test_bad_containers(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()

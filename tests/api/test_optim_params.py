"""Optimisers: names and groups of parameters, numbers set later, rows of tables."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rnnfast
from numpy.testing import assert_allclose, assert_array_equal
from optim_kinds import KINDS, draw, every_kind
from problems import Array, assert_same_bits
from rnnfast import RowGradient, optim

# ------------------------------------------------------------------ defaults

GRADS = [np.array([1.0, 1e-8, -2e-8]), np.array([0.5, 2e-8, 3e-8])]  # eps matters in the small ones


def test_defaults() -> None:
    """Two steps of each, with the numbers of the papers and of PyTorch written out."""
    ones = np.ones(3)

    def run(kind: type[optim.Optimizer]) -> Array:
        w = ones.copy()
        optimiser = kind({"w": w})  # type: ignore[call-arg]
        for g in GRADS:
            optimiser.step({"w": g})
        return w

    g1, g2 = GRADS
    assert_allclose(run(optim.SGD), ones - 0.01 * g1 - 0.01 * g2, rtol=1e-15)
    s = 0.01 * g1**2
    rmsprop = ones - 0.01 * g1 / (np.sqrt(s) + 1e-8)
    s = 0.99 * s + 0.01 * g2**2
    rmsprop = rmsprop - 0.01 * g2 / (np.sqrt(s) + 1e-8)
    assert_allclose(run(optim.RMSprop), rmsprop, rtol=1e-13)
    m, v = 0.1 * g1, 0.001 * g1**2
    first = 0.001 * (m / (1 - 0.9)) / (np.sqrt(v / (1 - 0.999)) + 1e-8)
    m, v = 0.9 * m + 0.1 * g2, 0.999 * v + 0.001 * g2**2
    second = 0.001 * (m / (1 - 0.9**2)) / (np.sqrt(v / (1 - 0.999**2)) + 1e-8)
    assert_allclose(run(optim.Adam), ones - first - second, rtol=1e-13)
    decayed = (ones * (1 - 0.001 * 0.01) - first) * (1 - 0.001 * 0.01) - second
    assert_allclose(run(optim.AdamW), decayed, rtol=1e-13)


# ------------------------------------------------------------------ names


def test_nested_names() -> None:
    enc, dec = {"w": np.ones(2), "deep": {"b": np.ones(1)}}, {"w": np.ones(3)}
    sgd = optim.SGD({"enc": enc, "dec": dec}, lr=1.0)
    assert list(sgd.params) == ["enc.w", "enc.deep.b", "dec.w"]
    grads = {"enc": {"w": np.ones(2), "deep": {"b": np.ones(1)}}, "dec": {"w": np.full(3, 2.0)}}
    sgd.step(grads)
    assert_array_equal(enc["w"], 0)
    assert_array_equal(dec["w"], -1)
    flat = {"enc.w": np.ones(2), "dec.w": np.zeros(3), "enc.deep.b": np.ones(1)}
    sgd.step(flat)
    assert_array_equal(enc["w"], -1)
    assert_array_equal(dec["w"], -1)
    assert_array_equal(enc["deep"]["b"], -1)


def test_two_layers_of_one_kind_are_both_trained() -> None:
    enc, dec = rnnfast.GRU(2, 3, rng=0), rnnfast.GRU(2, 3, rng=1)
    before = [layer.params.copy() for layer in (enc, dec)]
    adam = optim.Adam({"enc": enc.params, "dec": dec.params})
    ones = {name: np.ones_like(p) for name, p in enc.params.items()}
    adam.step({"enc": ones, "dec": ones})
    for layer, old in zip((enc, dec), before, strict=True):
        assert all((p != old[name]).all() for name, p in layer.params.items())


# ------------------------------------------------------------------ numbers


def test_numbers_are_checked_when_set() -> None:
    adam = optim.Adam({"w": np.ones(2)})
    sgd, rms = optim.SGD({"w": np.ones(2)}), optim.RMSprop({"w": np.ones(2)})
    bad: list[tuple[Any, type[Exception]]] = [
        (math.nan, ValueError), (-1, ValueError), (math.inf, ValueError), ("x", TypeError),
        (np.array([0.1, 0.2]), TypeError), (None, TypeError), (True, TypeError),
    ]  # fmt: skip
    names = ("lr", "weight_decay", "beta1", "beta2", "eps")
    for optimiser, name in [*((adam, name) for name in names), (sgd, "momentum"), (rms, "alpha")]:
        old = getattr(optimiser, name)
        for value, kind in bad:
            with pytest.raises(kind, match=f"^{name} is .*, expected a number in "):
                setattr(optimiser, name, value)
            assert getattr(optimiser, name) == old
        setattr(optimiser, name, np.float32(0.25))
        assert getattr(optimiser, name) == 0.25
    adam.step({"w": np.ones(2)})
    assert_array_equal(adam.params["w"], adam.params["w"][0])


def test_lr_of_zero_changes_nothing() -> None:
    w = np.ones(2)
    adam = optim.Adam({"w": w}, lr=0)
    adam.step({"w": w.copy()})
    assert_array_equal(w, 1)


def test_momentum_set_later() -> None:
    w = np.zeros(1)
    sgd = optim.SGD({"w": w}, lr=1.0)
    assert not sgd.state
    sgd.momentum = 0.5
    for _ in range(2):
        sgd.step({"w": np.ones(1)})
    assert w == -2.5
    assert sgd.state["velocity.w"] == 1.5
    sgd.momentum = 0.25  # keeps v
    assert sgd.state["velocity.w"] == 1.5
    sgd.momentum = 0
    assert not sgd.state
    sgd.step({"w": np.ones(1)})
    assert w == -3.5


# ------------------------------------------------------------------ groups


def test_groups() -> None:
    """The first pattern that matches counts; what is not said is the optimiser's, also later."""
    params = {name: np.ones(1) for name in ("emb.w", "emb.bias", "out.w", "out.bias")}
    groups = {"emb.*": {"lr_scale": 0.5}, "*bias": {"weight_decay": 0.0, "lr_scale": 2}}
    sgd = optim.SGD(params, lr=0.5, weight_decay=0.5, groups=groups)
    one = {name: np.ones(1) for name in params}
    sgd.step(one)
    want = {
        "emb.w": 1 - 0.25 * 1.5,
        "emb.bias": 1 - 0.25 * 1.5,
        "out.w": 1 - 0.5 * 1.5,
        "out.bias": 0,
    }
    assert {name: float(p[0]) for name, p in params.items()} == want
    sgd.lr, sgd.weight_decay = 1.0, 0.0
    sgd.step(one)
    moved = {"emb.w": 0.5, "emb.bias": 0.5, "out.w": 1.0, "out.bias": 2.0}
    assert {name: float(p[0]) for name, p in params.items()} == {
        name: want[name] - moved[name] for name in want
    }


@every_kind
def test_groups_that_say_nothing_new(kind: str) -> None:
    params, twins = draw(0), draw(0)
    plain = KINDS[kind](params, weight_decay=0.1)
    parts = KINDS[kind](twins, weight_decay=0.1, groups={"b*": {}, "*": {"lr_scale": 1.0}})
    for step in (1, 2):
        plain.step(draw(step))
        parts.step(draw(step))
    assert_same_bits(twins, params)
    assert_same_bits(parts.state, plain.state)


@every_kind
def test_groups_of_every_kind(kind: str) -> None:
    params, before = draw(0), draw(0)
    KINDS[kind](params, groups={"b*": {"lr_scale": 0.0}}).step(draw(1))
    assert_array_equal(params["bias"], before["bias"])
    assert (params["weight"] != before["weight"]).all()


# ------------------------------------------------------------------ rows of a table


def table_grads(seed: int, rows: list[int]) -> tuple[RowGradient, Array]:
    values = np.random.default_rng(seed).standard_normal((len(rows), 3))
    g = RowGradient(np.array(rows, np.int64), values, (9, 3))
    return g, g.dense()


def test_rows_of_plain_descent_are_the_dense_step_bitwise() -> None:
    w, twin = np.ones((9, 3)), np.ones((9, 3))
    lazy, dense = optim.SGD({"w": w}), optim.SGD({"w": twin})
    for step, rows in enumerate([[0, 4, 8], [], [4]]):
        g, whole = table_grads(step, rows)
        lazy.step({"w": g})
        dense.step({"w": whole})
    assert_array_equal(w, twin)


@every_kind
def test_rows_are_stepped_as_a_table_of_their_own(kind: str) -> None:
    """The rows that are there by the formula; the others keep their parameters and state."""
    b = np.ones(2)
    w = np.random.default_rng(0).standard_normal((9, 3))
    start = w.copy()
    optimiser = KINDS[kind]({"b": b, "w": w}, weight_decay=0.1)
    small = {"b": np.ones(2), "w": start[[2, 5]].copy()}
    twin = KINDS[kind](small, weight_decay=0.1)
    for step in range(3):
        g, _ = table_grads(step, [2, 5])
        optimiser.step({"b": np.ones(2), "w": g})
        twin.step({"b": np.ones(2), "w": g.values})
    assert_array_equal(w[[2, 5]], small["w"])
    assert_array_equal(b, small["b"])
    rest = [i for i in range(9) if i not in (2, 5)]
    assert_array_equal(w[rest], start[rest])
    for key, value in optimiser.state.items():
        if key.endswith(".w"):
            assert_array_equal(value[[2, 5]], twin.state[key])
            assert not value[rest].any()


def test_lazy_adam_by_hand() -> None:
    """A row that was left out goes on from its old state, with the bias correction of now."""
    w = np.ones((4, 1))
    adam = optim.Adam({"w": w}, lr=0.1, beta1=0.5, beta2=0.75, eps=1e-6)
    one = np.ones((1, 1))
    for row in (1, 2, 1):
        adam.step({"w": RowGradient(np.array([row]), one, (4, 1))})
    m, v = 0.5, 0.25
    p = 1 - 0.1 * (m / 0.5) / (math.sqrt(v / 0.25) + 1e-6)
    m, v = 0.5 * m + 0.5, 0.75 * v + 0.25
    p -= 0.1 * (m / (1 - 0.5**3)) / (math.sqrt(v / (1 - 0.75**3)) + 1e-6)
    assert w[1, 0] == pytest.approx(p, rel=1e-15)
    q = 1 - 0.1 * (0.5 / (1 - 0.5**2)) / (math.sqrt(0.25 / (1 - 0.75**2)) + 1e-6)
    assert w[2, 0] == pytest.approx(q, rel=1e-15)
    assert_array_equal(w[[0, 3]], 1)


class Counting(np.ndarray[Any, Any]):
    """An array that notes how many of its elements are read and written, whole or in part."""

    touched = 0

    def __getitem__(self, key: Any) -> Any:
        found = np.asarray(self)[key]
        Counting.touched += found.size
        return found

    def __setitem__(self, key: Any, value: Any) -> None:
        Counting.touched += np.asarray(value).size
        np.asarray(self)[key] = value


@every_kind
def test_a_step_does_not_grow_with_the_table(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What native code gets, and what is picked and put back, are the rows alone."""
    w = np.zeros((100_000, 3)).view(Counting)
    optimiser = KINDS[kind]({"w": w})
    optimiser._state = {key: value.view(Counting) for key, value in optimiser._state.items()}
    sizes: list[int] = []
    update = type(optimiser)._update

    def counted(self: Any, p: Any, g: Any, state: Any, lr: float, decay: float) -> None:
        sizes.extend(a.size for a in (*p, *g, *(array for column in state for array in column)))
        update(self, p, g, state, lr, decay)

    monkeypatch.setattr(type(optimiser), "_update", counted)
    Counting.touched = 0
    g = RowGradient(np.array([7, 99_999]), np.ones((2, 3)), (100_000, 3))
    assert optim.clip_by_norm({"w": g}, 1e9) == pytest.approx(math.sqrt(6))
    optimiser.step({"w": g})
    slots = len(optimiser._slots)
    assert sizes == [6] * (2 + slots)
    assert Counting.touched <= 2 * 6 * (1 + slots) + 2  # and the step count
    assert np.asarray(w)[[7, 99_999]].all()


def test_clipping_rows() -> None:
    g, whole = table_grads(0, [1, 3])
    b = np.array([3.0])
    norm = math.sqrt((whole**2).sum() + 9)
    assert optim.clip_by_norm({"emb": {"w": g}, "b": b}, 1.0) == pytest.approx(norm, rel=1e-15)
    assert_allclose(g.dense(), whole / norm, rtol=1e-15)
    assert_allclose(b, 3 / norm, rtol=1e-15)


def test_clip_by_value() -> None:
    g, whole = table_grads(0, [1, 3])
    w = np.array([[-3.0, 0.25, np.inf], [np.nan, -0.5, 0.75]], np.float32)
    optim.clip_by_value({"emb": {"w": g}, "w": w}, 0.5)
    assert_array_equal(w, np.array([[-0.5, 0.25, 0.5], [np.nan, -0.5, 0.5]], np.float32))
    assert_array_equal(g.dense(), np.clip(whole, -0.5, 0.5))


def test_trains_an_embedding_by_its_rows() -> None:
    """The gradient that the layer gives, in place of the array that it stands for."""
    tables = []
    for sparse in (False, True):
        emb = rnnfast.Embedding(50, 4, sparse=sparse, rng=0)
        sgd = optim.SGD({"emb": emb.params}, lr=0.5)
        for step in range(3):
            ids = np.random.default_rng(step).integers(0, 50, (5, 2))
            y, _, pullback = emb.vjp(ids)
            grads = pullback(y).params
            assert isinstance(grads["weight"], RowGradient) == sparse
            optim.clip_by_norm(grads, 1.0)
            sgd.step({"emb": grads})
        tables.append(emb.params["weight"])
    assert_allclose(tables[1], tables[0], rtol=1e-6)


# ------------------------------------------------------------------ text


def test_text() -> None:
    sgd = optim.SGD({"w": np.ones(2)}, momentum=0.5, groups={"w": {"lr_scale": 2}})
    assert repr(sgd) == (
        "SGD(1 parameters, lr=0.01, momentum=0.5, weight_decay=0.0, groups={'w': {'lr_scale': 2}})"
    )


# ------------------------------------------------------------------ bad input

w = np.zeros((4, 6))
unaligned = np.zeros(4 * 8 + 1, np.uint8)[1:].view(np.float64)
tied = rnnfast.GRU(3, 3)


def sgd(params: Any, **options: Any) -> optim.Optimizer:
    return optim.SGD(params, **options)


CASES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: sgd({"w": w.T}), ValueError,
        r"params\['w'\] is a view that is not C-contiguous or not aligned \(shape \(6, 4\), ",
    ),
    (lambda: sgd({"w": unaligned}), ValueError, r"params\['w'\] is a view that is not C-cont"),
    (
        lambda: optim.clip_by_norm({"w": w.T}, 1.0), ValueError,
        r"grads\['w'\] is a view that is not C-contiguous or not aligned",
    ),
    (lambda: sgd({"enc": {"w": w[:, ::2]}}), ValueError, r"params\['enc.w'\] is a view that is"),
    (
        lambda: sgd({"a": w[:2], "b": w[2:], "c": w[1:3]}), ValueError,
        r"params\['a'\] and params\['c'\] share memory, expected arrays of their own: where layers",
    ),
    (lambda: sgd({"a": w, "b": w}), ValueError, r"params\['a'\] and params\['b'\] share memory"),
    (
        lambda: sgd(rnnfast.Sequential(tied, tied).params), ValueError,
        r"params\['0.(\w+)'\] and params\['1.\1'\] share memory, .* all of its names but one, and"
        r" give step\(\) the sum of their gradients",
    ),
    (
        lambda: sgd({"a": {"b": w}, "a.b": w.copy()}), ValueError,
        r"params has two entries named 'a.b', expected one",
    ),
    (lambda: sgd({3: w}), TypeError, r"params has the key 3, expected a str"),
    (lambda: sgd({"a": {3: w}}), TypeError, r"params\['a'\] has the key 3, expected a str"),
    (lambda: sgd(tied), TypeError, r"params is a GRU, expected a mapping of arrays"),
    (lambda: sgd({"a": w}, groups=[1]), TypeError, "groups is a list, expected a mapping"),
    (
        lambda: sgd({"a": w}, groups={"a": 0.1}), TypeError,
        r"groups\['a'\] is a float, expected a mapping of lr_scale and weight_decay",
    ),
    (
        lambda: sgd({"a": w}, groups={"a": {"lr": 0.1}}), ValueError,
        r"groups\['a'\] has the option 'lr', expected lr_scale or weight_decay",
    ),
    (
        lambda: sgd({"a": w}, groups={"a": {"lr_scale": -1}}), ValueError,
        r"groups\['a'\]\['lr_scale'\] is -1.0, expected a number in \[0, inf\)",
    ),
    (
        lambda: sgd({"a": w}, groups={"b*": {}}), ValueError,
        r"groups\['b\*'\] matches no parameter, expected one of \['a'\]",
    ),
    (lambda: sgd({"a": w}, groups={1: {}}), TypeError, "groups has the key 1, expected a str"),
    (
        lambda: sgd({"w": w}).step({"w": table_grads(0, [1])[0]}), ValueError,
        r"grads\['w'\] has shape \(9, 3\), expected \(4, 6\)",
    ),
    (
        lambda: sgd({"w": w.astype("f")}).step({"w": table_grads(0, [1])[0]}), TypeError,
        r"grads\['w'\] has dtype float64, expected float32",
    ),
    (
        lambda: optim.clip_by_value({"w": w}, 0), ValueError,
        r"limit is 0.0, expected a number in \(0, inf\)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "words"), CASES)
def test_bad_input(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=f"^{words}"):
        call()
    assert not w.any()

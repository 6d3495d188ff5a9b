"""Optimisers by their formulas, their state, clipping and bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rnnfast
from numpy.testing import assert_allclose, assert_array_equal
from optim_kinds import KINDS, draw, every_kind
from problems import Array, assert_same_bits
from rnnfast import optim


def by_formula(kind: str, p: Array, gradients: list[Array], lr: float, decay: float) -> Array:
    """The parameter after all steps, from the formulas of the docstrings."""
    p, m, v = p.copy(), np.zeros_like(p), np.zeros_like(p)
    for k, g in enumerate(gradients, 1):
        g = g if kind == "AdamW" else g + decay * p
        if kind == "SGD":
            p = p - lr * g
        elif kind == "SGD momentum":
            v = 0.9 * v + g
            p = p - lr * v
        elif kind in ("Adam", "AdamW"):
            m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
            p = p - lr * decay * p if kind == "AdamW" else p
            p = p - lr * (m / (1 - 0.8**k)) / (np.sqrt(v / (1 - 0.9**k)) + 1e-6)
        else:
            v = 0.9 * v + 0.1 * g**2
            p = p - lr * g / (np.sqrt(v) + 1e-6)
    return p


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_kind
def test_steps(kind: str, dtype: str, decay: float) -> None:
    params, gradients = draw(0, dtype), [draw(step, dtype) for step in range(1, 5)]
    start = {name: p.astype(float) for name, p in params.items()}
    kept = dict(params)
    optimiser = KINDS[kind](params, lr=0.05, weight_decay=decay)
    for grads in gradients:
        before = {name: g.copy() for name, g in grads.items()}
        optimiser.step(grads)
        assert_same_bits(grads, before)
    for name, p in params.items():
        assert p is kept[name]
        grads_of = [grads[name].astype(float) for grads in gradients]
        want = by_formula(kind, start[name], grads_of, 0.05, decay)
        eps = float(np.finfo(dtype).eps)
        assert_allclose(p, want, rtol=0, atol=4 * 8 * eps)  # 8 roundings in each of 4 steps


@every_kind
def test_saved_state_continues(kind: str) -> None:
    params = draw(0)
    optimiser = KINDS[kind](params)
    optimiser.step(draw(1))
    optimiser.step(draw(2))
    twin_params = {name: p.copy() for name, p in params.items()}
    twin = KINDS[kind](twin_params)
    twin.load({name: value.copy() for name, value in optimiser.state.items()})
    optimiser.step(draw(3))
    twin.step(draw(3))
    assert_same_bits(twin_params, params)
    assert_same_bits(twin.state, optimiser.state)
    assert bool(optimiser.state) == (kind != "SGD")


def test_state_names() -> None:
    adam = optim.Adam({"w": np.zeros(2)})
    adam.step({"w": np.ones(2)})
    assert set(adam.state) == {"m.w", "v.w", "step"}
    assert adam.state["step"] == 1
    assert set(optim.RMSprop({"w": np.zeros(2)}).state) == {"square_avg.w"}
    with pytest.raises(TypeError):
        adam.state["step"] = np.zeros(())  # type: ignore[index]


@every_kind
def test_bad_steps_change_nothing(kind: str) -> None:
    params, good = draw(0), draw(1)
    optimiser = KINDS[kind](params)
    optimiser.step(good)
    before = {name: p.copy() for name, p in params.items()}
    state = {name: value.copy() for name, value in optimiser.state.items()}
    few = {name: g for name, g in good.items() if name != "bias"}
    cases: list[tuple[Any, type[Exception], str]] = [
        (good | {"bias": good["bias"][1:]}, ValueError, r"grads\['bias'\] has shape \(32,\), exp"),
        (
            good | {"bias": good["bias"].astype("f")},
            TypeError,
            r"grads\['bias'\] has dtype float32",
        ),
        (good | {"bias": good["bias"].tolist()}, TypeError, r"grads\['bias'\] is a list, expected"),
        (good | {"more": good["bias"]}, ValueError, r"^grads has .*, unexpected \['more'\]"),
        (few, ValueError, r"^grads has the keys .* missing \['bias'\], unexpected \[\]"),
        (list(good.values()), TypeError, "grads is a list, expected a mapping of arrays"),
    ]
    params["bias"].flags.writeable = False
    cases.append((good, ValueError, r"params\['bias'\] is read-only, expected a writeable array"))
    for grads, error, words in cases:
        with pytest.raises(error, match=words):
            optimiser.step(grads)
        assert_same_bits(params, before)
        assert_same_bits(optimiser.state, state)


def test_bad_load_changes_nothing() -> None:
    adam = optim.Adam(draw(0))
    adam.step(draw(1))
    good = {name: np.asarray(value + 1) for name, value in adam.state.items()}
    before = {name: value.copy() for name, value in adam.state.items()}
    for state, error, words in (
        (good | {"v.bias": good["v.bias"][1:]}, ValueError, r"state\['v.bias'\] has shape"),
        (
            good | {"step": np.zeros(())},
            TypeError,
            r"state\['step'\] has dtype float64, expected int",
        ),
        ({}, ValueError, r"missing \['m.weight'"),
    ):
        with pytest.raises(error, match=words):
            adam.load(state)
        assert_same_bits(adam.state, before)


def test_frozen_layer() -> None:
    lstm = rnnfast.LSTM(3, 4, rng=0)
    adam = optim.Adam(lstm.params)
    lstm.freeze()
    with pytest.raises(
        ValueError, match=r"weight_ih_l0.* is read-only, expected a writeable array: .* unfreeze it"
    ):
        adam.step({name: np.ones_like(p) for name, p in lstm.params.items()})


def test_part_of_a_layer() -> None:
    """Fine-tuning: train some parameters, leave out the gradients of the others."""
    lstm = rnnfast.LSTM(3, 4, rng=0)
    some = {name: p for name, p in lstm.params.items() if name.startswith("bias")}
    before = {name: p.copy() for name, p in lstm.params.items()}
    y, _, pullback = lstm.vjp(np.ones((2, 1, 3), np.float32))
    _, _, grads = pullback(y, skip=lstm.params.keys() - some.keys())
    optim.SGD(some, lr=1.0).step(grads)
    for name, p in lstm.params.items():
        assert np.array_equal(p, before[name]) == (name not in some)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clip_by_norm(dtype: str) -> None:
    grads = draw(0, dtype)
    before = {name: g.astype(float) for name, g in grads.items()}
    norm = np.sqrt(sum((g**2).sum() for g in before.values()))
    eps = float(np.finfo(dtype).eps)
    assert optim.clip_by_norm(grads, 2 * norm) == pytest.approx(norm, rel=4 * 2.0**-52)
    for name, g in grads.items():
        assert_array_equal(g, before[name])
    assert optim.clip_by_norm(grads, 0.5) == pytest.approx(norm, rel=4 * 2.0**-52)
    for name, g in grads.items():
        assert_allclose(g, before[name] * (0.5 / norm), rtol=2 * eps)
    assert optim.clip_by_norm({}, 1.0) == 0.0


def test_norm_does_not_overflow_and_leaves_what_is_not_finite() -> None:
    grads = {"w": np.full(4, 1e30, np.float32)}
    assert optim.clip_by_norm(grads, 1.0) == pytest.approx(2e30, rel=1e-6)
    assert_allclose(grads["w"], 0.5, rtol=1e-6)
    for bad in (np.nan, np.inf):
        grads = {"w": np.array([1.0, bad])}
        assert not np.isfinite(optim.clip_by_norm(grads, 0.1))
        assert_array_equal(grads["w"], [1.0, bad])


W, FROZEN = {"w": np.zeros(2)}, {"w": np.zeros(2)}
FROZEN["w"].flags.writeable = False
CASES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: optim.SGD([np.zeros(2)]), TypeError, "params is a list, expected a mapping of arrays"),
    (
        lambda: optim.SGD({"w": [0.0]}), TypeError,
        r"params\['w'\] is a list, expected an ndarray of float",
    ),
    (lambda: optim.Adam({"w": np.zeros(2, int)}), TypeError, r"params\['w'\] has dtype int64"),
    (lambda: optim.Adam({"w": np.zeros(2, ">f4")}), TypeError, r"params\['w'\] has dtype >f4"),
    (lambda: optim.SGD(W, lr=-0.1), ValueError, r"lr is -0.1, expected a number in \[0, inf\)"),
    (
        lambda: optim.SGD(W, lr=float("inf")), ValueError,
        r"lr is inf, expected a number in \[0, inf\)",
    ),
    (lambda: optim.SGD(W, lr="fast"), TypeError, r"lr is 'fast', expected a number in \[0, inf\)"),
    (
        lambda: optim.SGD(W, momentum=1.0), ValueError,
        r"momentum is 1.0, expected a number in \[0, 1\)",
    ),
    (
        lambda: optim.SGD(W, weight_decay=-1), ValueError,
        r"weight_decay is -1.0, expected a number in",
    ),
    (lambda: optim.Adam(W, beta1=1.0), ValueError, r"beta1 is 1.0, expected a number in \[0, 1\)"),
    (
        lambda: optim.Adam(W, beta2=-0.1), ValueError,
        r"beta2 is -0.1, expected a number in \[0, 1\)",
    ),
    (lambda: optim.Adam(W, eps=0), ValueError, r"eps is 0.0, expected a number in \(0, inf\)"),
    (
        lambda: optim.RMSprop(W, alpha=1.0), ValueError,
        r"alpha is 1.0, expected a number in \[0, 1\)",
    ),
    (lambda: optim.RMSprop(W, eps=-1), ValueError, r"eps is -1.0, expected a number in \(0, inf\)"),
    (
        lambda: optim.clip_by_norm(W, 0.0), ValueError,
        r"max_norm is 0.0, expected a number in \(0, inf\)",
    ),
    (
        lambda: optim.clip_by_norm([np.zeros(2)], 1.0), TypeError,
        "grads is a list, expected a mapping",
    ),
    (lambda: optim.clip_by_norm(FROZEN, 1.0), ValueError, r"grads\['w'\] is read-only, expected"),
    (lambda: optim.clip_by_norm({"w": [1.0]}, 1.0), TypeError, r"grads\['w'\] is a list, expected"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "words"), CASES)
def test_bad_input(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=f"^{words}"):
        call()


def test_parameters_side_by_side() -> None:
    """Views of one array that have no element in common."""
    w = np.zeros((4, 3))
    optim.SGD({"a": w[:2], "b": w[2:]}, lr=1.0).step({"a": np.ones((2, 3)), "b": -np.ones((2, 3))})
    assert_array_equal(w[:, 0], [-1, -1, 1, 1])


def test_optimiser_without_state() -> None:
    class Sign(optim.Optimizer):
        def _update(self, p: Any, g: Any, state: Any, lr: float, decay: float) -> None:
            assert state == []
            for p_k, g_k in zip(p, g, strict=True):
                p_k -= lr * np.sign(g_k)

    w = np.zeros(2)
    Sign({"w": w}, 0.5, 0.0, None).step({"w": np.array([3.0, -2.0])})
    assert_array_equal(w, [-0.5, 0.5])

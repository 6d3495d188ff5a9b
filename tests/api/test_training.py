"""What training promises: dropout, checkpoints, need_x, memory given up, work left out."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rnnfast
from layer_problems import B, T
from numpy.testing import assert_array_equal
from problems import Array, assert_close, assert_same_bits
from rnnfast import GRU, LSTM, Dense, Dropout, Embedding, Sequential
from rnnfast.layers import Gradients, Layer, recurrent

x = np.random.default_rng(0).standard_normal((T, B, 3)).astype(np.float32)

# ------------------------------------------------------------------ dropout


def test_dropout_of_a_stack_acts_in_training_only() -> None:
    plain, dropped = LSTM(3, 4, 2, rng=1), LSTM(3, 4, 2, dropout=0.5, rng=1)
    y, _ = plain(x)
    assert_array_equal(dropped(x)[0], y)
    assert_array_equal(dropped(x, return_sequence=False)[0], y[-1])
    assert not np.array_equal(dropped.vjp(x, rng=2)[0], y)
    assert_array_equal(dropped.stream(B).step(x[0]), plain.stream(B).step(x[0]))


def by_hand(stack: LSTM, p: float, rng: int) -> tuple[Array, Array, dict[str, Array]]:
    """y, dx and gradients, for dy = y, of two layers with a mask drawn as documented."""
    layers = []
    for k, inputs in enumerate((3, 40)):
        layers.append(LSTM(inputs, 40, rng=0))
        layers[k].load({n: stack.params[n.replace("l0", f"l{k}")] for n in layers[k].params})
    a, _, first = layers[0].vjp(x, need_x=True)
    mask = (np.random.default_rng(rng).random(a.shape, np.float32) >= p) / np.float32(1 - p)
    y, _, second = layers[1].vjp(a * mask.astype(np.float32), need_x=True)
    top = second(y)
    bottom = first(top.x * mask.astype(np.float32))
    grads = bottom.params | {n.replace("l0", "l1"): grad for n, grad in top.params.items()}
    return y, bottom.x, grads


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_dropout_of_a_stack_by_hand(p: float) -> None:
    """The mask has the rate p, stands between the layers, and scales by 1 / (1 - p)."""
    stack = LSTM(3, 40, 2, dropout=p, rng=1)
    y, _, pullback = stack.vjp(x, rng=7, need_x=True)
    want, dx, grads = by_hand(stack, p, 7)
    got = pullback(y)
    assert_array_equal(y, want)
    # dx is formed in other pieces of steps, and their tiles sum in another order
    want_all = {"dx": dx, **grads}
    assert_close({"dx": got.x, **got.params}, want_all, float(np.finfo(np.float32).eps) * len(x))


@pytest.mark.parametrize("layer", [Dropout(0.3), LSTM(3, 4, 2, dropout=0.3, rng=1)])
def test_masks_are_fresh(layer: Layer) -> None:
    """But for an int, which gives the same ones in every call."""
    outputs = [layer.vjp(x, rng=rng)[0] for rng in (None, None, 3, 3, 4)]
    assert not np.array_equal(outputs[0], outputs[1])
    assert_array_equal(outputs[2], outputs[3])
    assert not np.array_equal(outputs[2], outputs[4])
    generator = np.random.default_rng(3)
    assert_array_equal(layer.vjp(x, rng=generator)[0], outputs[2])
    assert not np.array_equal(layer.vjp(x, rng=generator)[0], outputs[2])


def test_dropout_without_effect_warns() -> None:
    words = r"num_layers greater than 1, but got dropout=0.5 and num_layers=1"
    for make in (LSTM, GRU, rnnfast.RNN):
        with pytest.warns(UserWarning, match=words) as caught:
            make(3, 4, dropout=0.5)
        assert caught[0].filename == __file__
    LSTM(3, 4, 2, dropout=0.5)
    LSTM(3, 4, dropout=0.0)


# ------------------------------------------------------------------ memory

PEAK = """
import sys, numpy as np, rnnfast
def memory(key):  # of this process alone: that of getrusage begins with its parent's
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))
rnnfast.set_num_threads(1)
checkpoint, retain = sys.argv[1] == "True", sys.argv[2] == "True"
layer = {make}
x = np.zeros(({T}, 4, {I}), "f")
dy = np.zeros(({T}, 4, layer.output_size), "f")
layer.vjp(x[:3], need_x=True)[2](dy[:3])
before = memory("VmRSS")
kept = []
for _ in range({times}):
    _, _, pullback = layer.vjp(x, checkpoint=checkpoint)
    pullback(dy, retain=retain)
    kept.append(pullback)
print(memory("VmHWM") - before)
"""


def peak(make: str, T: int, *, checkpoint: bool = False, retain: bool = False, I: int = 2,  # noqa: E741
         times: int = 1) -> int:  # fmt: skip
    """The memory, in bytes, that training calls add to a process of their own."""
    code = PEAK.format(make=make, T=T, I=I, times=times)
    arguments = [sys.executable, "-c", code, str(checkpoint), str(retain)]
    out = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=120)
    return 1024 * int(out.stdout)


LAYER = "rnnfast.LSTM(2, 64, rng=0)"
CHAIN = "rnnfast.Sequential(rnnfast.Dropout(), rnnfast.LSTM(2, 64, rng=0))"


@pytest.mark.parametrize("make", [LAYER, CHAIN])
def test_checkpoint_saves_memory(make: str) -> None:
    """The gates of all steps, 4 H a step and sequence, are not kept; y, of H, is."""
    T = 10_000
    sequence = 4 * T * 4 * 64  # bytes of y
    assert peak(make, T) > 5 * sequence
    assert peak(make, T, checkpoint=True) < 3 * sequence


@pytest.mark.parametrize("make", [LAYER, CHAIN])
def test_pullbacks_give_up_their_memory(make: str) -> None:
    """Pullbacks that were called hold nothing; with retain each keeps its gates."""
    T = 4_000
    gates = 4 * T * 4 * 4 * 64
    assert peak(make, T, times=8) < 4 * gates
    assert peak(make, T, times=8, retain=True) > 8 * gates


ids = np.random.default_rng(0).integers(0, 7, (T, B))
KINDS: dict[str, Callable[[], tuple[Layer, Array]]] = {
    "LSTM": lambda: (LSTM(3, 4, 2, bidirectional=True, rng=1), x),
    "Dense": lambda: (Dense(3, 2, rng=1), x),
    "Dropout": lambda: (Dropout(), x),
    "Embedding": lambda: (Embedding(7, 3, rng=1), ids),
    "chain": lambda: (Sequential(Embedding(7, 3, rng=1), GRU(3, 4, rng=1), Dense(4, 2)), ids),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_pullback_holds_its_input_until_called(kind: str) -> None:
    layer, given = KINDS[kind]()
    given = given.copy()
    watch = weakref.ref(given)  # views of it hold it
    y, _, pullback = layer.vjp(given, need_x=True)
    del given
    gc.collect()
    dy = np.ones(y.shape, y.dtype)
    first = pullback(dy, retain=True)
    gc.collect()
    assert kind == "Dropout" or watch() is not None
    second = pullback(dy)
    gc.collect()
    assert watch() is None
    assert_same_bits(first.params, second.params)


def test_pullback_keeps_no_final_state() -> None:
    _, state, pullback = LSTM(3, 4, rng=1).vjp(x)
    watches = [weakref.ref(part) for part in state]
    del state
    gc.collect()
    assert [watch() for watch in watches] == [None, None]
    pullback(np.ones((T, B, 4), np.float32))


# ------------------------------------------------------------------ gradients that are asked for


@every_kind
def test_gradient_by_x_is_computed_if_needed(kind: str) -> None:
    layer, given = KINDS[kind]()
    y, _, pullback = layer.vjp(given)
    without = pullback(y.copy())
    assert isinstance(without, Gradients)
    assert without.x is None
    with_x = layer.vjp(given, need_x=True)[2](y.copy())
    assert (with_x.x is None) == layer.takes_ids
    if kind != "Dropout":  # whose masks differ
        assert_same_bits(with_x.params, without.params)


@every_kind
def test_zeros_are_refused(kind: str) -> None:
    layer, given = KINDS[kind]()
    y, state, pullback = layer.vjp(given)
    zeros = [None] if state is None else [None, (None,) * len(state)]
    for dstate in zeros:
        with pytest.raises(ValueError, match=r"^dy and dstate are None, .* need_x=True$"):
            pullback(None, dstate)
    pullback(y)


def test_no_gradient_of_the_output() -> None:
    """Where only a state has one, layers behind it have gradients of zero."""
    gru, dense = GRU(3, 4, rng=1), Dense(4, 2, rng=2)
    chain = Sequential(gru, Dropout(), dense, Dropout())
    _, state, pullback = chain.vjp(x, need_x=True)
    grads = pullback(None, (state[0], None, None, None))
    want = gru.vjp(x, need_x=True)[2](None, state[0])
    assert_array_equal(grads.x, want.x)
    assert_array_equal(grads.state[0], want.state)
    for name, grad in grads.params.items():
        layer, _, key = name.partition(".")
        assert_array_equal(grad, want.params[key] if layer == "0" else 0)


class Spy:
    """The extension, which notes what pullbacks are asked to do."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.inputs: list[bool] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(rnnfast._rnnfast, name)

    def run_stack_vjp(self, *arguments: Any) -> Any:
        y, state, pullback = rnnfast._rnnfast.run_stack_vjp(*arguments)

        class Noted:
            @staticmethod
            def stack(dy: Any, dstate: Any, retain: bool, skip: Any) -> Any:
                self.asked.append({"retain": retain, "skip": [set(names) for names in skip]})
                return pullback.stack(dy, dstate, retain, skip)

        return y, state, Noted

    def dense_vjp(self, *arguments: Any) -> Any:
        self.inputs.append(arguments[-1])
        return rnnfast._rnnfast.dense_vjp(*arguments)


def test_skipped_work_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy()
    monkeypatch.setattr(recurrent, "_rnnfast", spy)
    layer = GRU(3, 4, 2, rng=1)
    y, _, pullback = layer.vjp(x, need_x=True)
    pullback(y, skip=("x", "weight_hh_l0", "bias_ih_l1"))
    pullback = layer.vjp(x)[2]
    pullback(y, retain=True)
    pullback(y, skip=layer.params)
    every = {"x", "W_ax", "W_aa", "b_a", "b_aa"}
    assert spy.asked == [
        {"retain": False, "skip": [{"x", "W_aa"}, {"x", "b_a"}]},
        {"retain": True, "skip": [{"x"}, {"x"}]},
        {"retain": False, "skip": [every, every]},
    ]


def test_a_chain_asks_for_what_earlier_layers_need(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy()
    monkeypatch.setattr("rnnfast.layers.dense._rnnfast", spy)
    for chain, need_x, want in (
        (Sequential(Dense(3, 4), Dense(4, 2)), False, [True, False]),
        (Sequential(Dense(3, 4), Dense(4, 2)), True, [True, True]),
        (Sequential(Dropout(), Dense(3, 2)), False, [False]),
        (Sequential(Dropout(), Dense(3, 2)), True, [True]),
        (Sequential(Sequential(Dropout(), Dense(3, 3)), Dense(3, 2)), False, [True, False]),
    ):
        spy.inputs.clear()
        y, _, pullback = chain.vjp(x, need_x=need_x)
        grads = pullback(y)
        assert spy.inputs == want
        assert (grads.x is not None) == need_x
        assert grads.params.keys() == chain.params.keys()


@pytest.mark.parametrize("option", ["checkpoint", "need_x", "return_sequence"])
def test_flags_are_true_or_false(option: str) -> None:
    for layer, given in (KINDS["LSTM"](), KINDS["chain"]()):
        with pytest.raises(TypeError, match=rf"^{option} is 'no', expected True or False"):
            layer.vjp(given, **{option: "no"})
        y, _, pullback = layer.vjp(given, **{option: np.True_})
        with pytest.raises(TypeError, match=r"^retain is 1, expected True or False"):
            pullback(y, retain=1)
        with pytest.raises(TypeError, match=r"^skip is a NoneType, expected names of gradients"):
            pullback(y, skip=None)
        pullback(y, skip="x")
    with pytest.raises(TypeError, match=r"^return_sequence is \[\], expected True or False"):
        LSTM(3, 4)(x, return_sequence=[])

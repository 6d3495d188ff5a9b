"""What the steps of the optimisers ask of their arrays and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problems import Array, assert_same_bits
from rnnfast import _rnnfast

N = 37
NUMBERS = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.01}


def draw(seed: int) -> Array:
    return np.random.default_rng(seed).random(N) + 0.5


def unaligned(array: Array) -> Array:
    copy: Array = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype)
    copy[:] = array
    assert not copy.flags.aligned
    return copy


def adam(p: Array, g: Array, m: Array, v: Array, **numbers: Any) -> None:
    given = {**NUMBERS, **numbers}
    step, decoupled = given.pop("step", 1), given.pop("decoupled", False)
    _rnnfast.adam_step([p], [g], [m], [v], step, **given, decoupled=decoupled)


def test_gradients_are_read_wherever_they_lie() -> None:
    want = [draw(0), draw(2), draw(3)]
    adam(want[0], draw(1), *want[1:])
    strided = np.repeat(draw(1), 2)[::2]
    for g in (unaligned(draw(1)), strided, draw(1)[::-1].copy()[::-1]):
        got = [draw(0), draw(2), draw(3)]
        adam(got[0], g, *got[1:])
        assert_same_bits(dict(zip("pmv", got, strict=True)), dict(zip("pmv", want, strict=True)))


def test_a_gradient_that_shares_memory_is_what_it_was() -> None:
    whole = np.concatenate([draw(0), [0.7]])
    want, g = whole[:-1].copy(), whole[1:].copy()
    state = [draw(2), draw(3)], [draw(2), draw(3)]
    adam(want, g, *state[0])
    adam(whole[:-1], whole[1:], *state[1])
    assert_same_bits({"p": whole[:-1].copy()}, {"p": want})
    p, alone = draw(0), draw(0)
    _rnnfast.sgd_step([p], [p], None, 0.1, 0.0, 0.0)
    _rnnfast.sgd_step([alone], [draw(0)], None, 0.1, 0.0, 0.0)
    assert_same_bits({"p": p}, {"p": alone})


def test_arrays_that_are_written() -> None:
    p, g, m = draw(0), draw(1), draw(2)
    buffer = np.zeros(N + 1)
    cases: list[tuple[list[Array], str]] = [
        ([unaligned(p), g, m, draw(3)], r"params\[0\] is read-only, not C-contiguous or not align"),
        ([p, g, unaligned(m), draw(3)], r"m\[0\] is read-only, not C-contiguous or not aligned"),
        ([p, g, np.zeros(2 * N)[::2], draw(3)], r"m\[0\] is read-only, not C-contiguous or not al"),
        ([p, g, m, m], r"v\[0\] shares memory with another array of the step"),
        ([p, g, buffer[1:], buffer[:-1]], r"v\[0\] shares memory with another array of the step"),
        ([p, g, p, m], r"m\[0\] shares memory with another array of the step"),
    ]
    for arrays, words in cases:
        before = [array.copy() for array in arrays]
        with pytest.raises(ValueError, match=f"^{words}"):
            adam(*arrays)
        for array, copy in zip(arrays, before, strict=True):
            assert array.tobytes() == copy.tobytes()


@pytest.mark.parametrize("name", [*NUMBERS, "step", "decoupled"])
def test_numbers(name: str) -> None:
    arrays = [draw(i) for i in range(4)]
    expected = {"step": "an integer", "decoupled": "True or False"}.get(name, "a number")
    for wrong in ("x", None, np.array(0.1), [0.1]):
        kind = "None" if wrong is None else r"(str|ndarray of dtype float64|list)"
        with pytest.raises(TypeError, match=rf"^{name} is a {kind}, expected {expected}$"):
            adam(*arrays, **{name: wrong})
    for right in (np.float32(0.5), np.int64(1)) if expected == "a number" else ():
        adam(*[draw(i) for i in range(4)], **{name: right})


def test_lists() -> None:
    for wrong in ((draw(0),), draw(0), None):
        with pytest.raises(TypeError, match=r"^grads is a .*, expected a list of arrays$"):
            _rnnfast.norm(wrong)  # type: ignore[arg-type]

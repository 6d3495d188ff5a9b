"""Checks that constructors and functions share: what passes, and what the errors say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rnnfast._check
from numpy.testing import assert_array_equal
from problems import Array

_check: Any = rnnfast._check  # wrong kinds are its business

SEEDS: list[Any] = [
    None, 3, np.int64(3), [1, 2], (1, 2), np.array([1, 2]), np.random.SeedSequence(5),
    np.random.PCG64(1), np.random.default_rng(1),
]  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: type(seed).__name__)
def test_generator(seed: Any) -> None:
    """As numpy.random.default_rng, except that True is no seed."""
    got = _check.generator(seed)
    assert isinstance(got, np.random.Generator)
    if isinstance(seed, np.random.Generator):
        assert got is seed
    elif isinstance(seed, np.random.BitGenerator):
        assert got.bit_generator is seed
    elif seed is not None:
        assert got.random() == np.random.default_rng(seed).random()


def test_numbers() -> None:
    assert _check.integer("n", np.uint8(3), 0) == 3
    assert type(_check.integer("n", np.uint8(3), 0)) is int
    assert _check.real("p", np.float32(0.5), 0.0, 1.0, "[0, 1)") == 0.5
    assert type(_check.real("p", 1, 0.0, 1.0, "[0, 1]")) is float
    assert _check.boolean("flag", np.True_) is True
    assert _check.boolean("flag", False) is False
    assert_array_equal(_check.lengths([3, np.int8(0)], 3, 2), [3, 0])
    assert_array_equal(_check.lengths(np.array([3, 0], ">u2"), 3, 2), [3, 0])


def real(value: Any) -> float:
    return _check.real("lr", value, 0.0, 1.0, "(0, 1]")


a = np.zeros((2, 3), np.float32)
f4, f8 = np.dtype("f4"), np.dtype("f8")
CASES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: _check.integer("n", np.array([3, 4]), 0), TypeError,
        r"n is a int64 ndarray of shape \(2,\), expected an integer >= 0$",
    ),
    (lambda: _check.integer("n", np.True_, 0), TypeError, "n is .*True.*, expected an integer"),
    (lambda: _check.integer("n", 3.0, 0), TypeError, "n is 3.0, expected an integer >= 0$"),
    (lambda: _check.integer("n", -1, 0), ValueError, "n is -1, expected an integer >= 0$"),
    (
        lambda: real(np.array([0.1, 0.2])), TypeError,
        r"lr is a float64 ndarray of shape \(2,\), expected a number in \(0, 1\]$",
    ),
    (lambda: real("0.1"), TypeError, r"lr is '0.1', expected a number in \(0, 1\]$"),
    (lambda: real(True), TypeError, r"lr is True, expected a number in \(0, 1\]$"),
    (lambda: real(np.complex64(1)), TypeError, r"lr is .*1\+0j.*, expected a number in \(0, 1\]$"),
    (lambda: real(float("nan")), ValueError, r"lr is nan, expected a number in \(0, 1\]$"),
    (lambda: real(0), ValueError, r"lr is 0.0, expected a number in \(0, 1\]$"),
    (lambda: real(-(10**400)), ValueError, r"lr is -inf, expected a number in \(0, 1\]$"),
    (lambda: _check.boolean("bias", "no"), TypeError, "bias is 'no', expected True or False$"),
    (lambda: _check.boolean("bias", 1), TypeError, "bias is 1, expected True or False$"),
    (lambda: _check.boolean("bias", None), TypeError, "bias is None, expected True or False$"),
    (
        lambda: _check.boolean("bias", a), TypeError,
        r"bias is a float32 ndarray of shape \(2, 3\), expected True or False$",
    ),
    (lambda: _check.generator(True), TypeError, "rng is True, expected None, an integer >= 0, a s"),
    (lambda: _check.generator(1.5), TypeError, "rng is 1.5, expected None, an integer >= 0, a seq"),
    (lambda: _check.generator("3"), TypeError, "rng is '3', expected None, an integer >= 0, a seq"),
    (lambda: _check.generator([1.5]), TypeError, r"rng is \[1.5\], expected None, an integer >= 0"),
    (lambda: _check.generator(-1), ValueError, "rng is -1, expected None, an integer >= 0, a sequ"),
    (
        lambda: _check.array("x", a, f8, None), TypeError,
        r'x has dtype float32, expected float64: convert it with .astype\("float64"\),'
        r' or make the layer with dtype="float32"$',
    ),
    (lambda: _check.array("x", a.astype(int), f4, None), TypeError, "x has dtype int64, expected"),
    (lambda: _check.array("x", a, f4, (3, 2)), ValueError, r"x has shape \(2, 3\), expected \(3, "),
    (
        lambda: _check.lengths([1, 9], 5, 2), ValueError,
        r"lengths\[1\] is 9, expected 0 <= length <= T = 5$",
    ),
    (
        lambda: _check.lengths(np.array([1, -9]), 5, 2), ValueError,
        r"lengths\[1\] is -9, expected 0 <= length <= T = 5$",
    ),
    (
        lambda: _check.lengths([2**70, 1], 5, 2), ValueError,
        r"lengths\[0\] is 1180591620717411303424, expected 0 <= length <= T = 5$",
    ),
    (lambda: _check.lengths([1], 5, 2), ValueError, "lengths has 1 entries, expected B = 2$"),
    (
        lambda: _check.lengths(np.ones((2, 1), int), 5, 2), ValueError,
        r"lengths has shape \(2, 1\), expected \(B,\) = \(2,\)$",
    ),
    (
        lambda: _check.lengths([1, np.True_], 5, 2), TypeError,
        r"lengths\[1\] is a bool_?, expected an integer$",
    ),
    (lambda: _check.lengths([1.0, 1], 5, 2), TypeError, r"lengths\[0\] is a float, expected an"),
    (lambda: _check.lengths(np.ones(2, bool), 5, 2), TypeError, "lengths has dtype bool, expected"),
    (lambda: _check.lengths("12", 5, 2), TypeError, "lengths is a str, expected a list or"),
    (
        lambda: _check.same_keys("grads", dict.fromkeys("abcdefghij"), {"a": a}), ValueError,
        r"grads has the keys \['a', .*'h', ... 10 in all\], expected \['a'\]: missing \[\],"
        r" unexpected \['b', .*'i', ... 9 in all\]$",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "words"), CASES)
def test_errors(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=f"^{words}"):
        call()


def test_copies_what_the_targets_share() -> None:
    """Two arrays exchanged, and one turned round over itself."""
    w = np.arange(12.0)
    targets = {"a": w[:4], "b": w[4:8], "c": w[8:]}
    _check.copy_into("params", targets, {"a": w[4:8], "b": w[:4], "c": w[8:][::-1]})
    assert_array_equal(w, [4, 5, 6, 7, 0, 1, 2, 3, 11, 10, 9, 8])


def test_reads_each_source_once() -> None:
    class Counting(dict[str, Array]):
        reads = 0

        def __getitem__(self, key: str) -> Array:
            Counting.reads += 1
            return super().__getitem__(key)

    target = np.zeros(3)
    _check.copy_into("params", {"w": target}, Counting(w=np.ones(3)))
    assert_array_equal(target, 1)
    assert Counting.reads == 1

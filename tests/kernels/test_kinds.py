"""Arguments of a wrong kind: an error of our own, never a list of all arguments."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from problems import assert_same_bits, make
from rnnfast import _rnnfast, functional

T, B, I, H = 3, 4, 2, 5  # noqa: E741
BOOLEANS = ((np.True_, True), (np.False_, False))
NOT_BOOLEANS = ("no", 1, 0, None, [], np.ones(1), np.array(True))


def called(value: Any) -> str:
    """How an error names what came."""
    if isinstance(value, np.ndarray):
        return f"ndarray of dtype {value.dtype}"
    return "None" if value is None else type(value).__name__


@pytest.mark.parametrize("name", ["reverse", "checkpoint"])
def test_booleans_of_the_functions(name: str) -> None:
    problem = make("lstm", T, B, I, H)
    for value, plain in BOOLEANS:
        got, want = (
            functional.run_vjp(*problem.layer, **{name: v})[2](problem.da) for v in (value, plain)
        )
        assert_same_bits(got, want)
    for wrong in NOT_BOOLEANS:
        expected = f"^{name} is a {called(wrong)}, expected True or False$"
        with pytest.raises(TypeError, match=expected):
            functional.run_vjp(*problem.layer, **{name: wrong})
        if name == "reverse":
            with pytest.raises(TypeError, match=expected):
                functional.run(*problem.layer, reverse=wrong)
            for sequence in (functional.lstm, functional.lstm_vjp):
                with pytest.raises(TypeError, match=expected):
                    sequence(*problem.layer[1:], reverse=wrong)


@pytest.mark.parametrize("wrong", NOT_BOOLEANS)
def test_booleans_of_the_extension(wrong: Any) -> None:
    problem = make("lstm", T, B, I, H)
    arguments: Any = (*problem.layer, None, None, False, None)
    kind = called(wrong)
    for function in (_rnnfast.run, _rnnfast.run_vjp):
        with pytest.raises(TypeError, match=f"^return_sequence is a {kind}, expected True or"):
            function(*arguments, wrong)
    _, _, pullback = functional.run_vjp(*problem.layer)
    with pytest.raises(TypeError, match=f"^retain is a {kind}, expected True or False$"):
        pullback(problem.da, retain=wrong)
    assert pullback(problem.da, retain=np.True_)
    assert pullback(problem.da)


@pytest.mark.parametrize("wrong", [3, None, b"lstm", ["lstm"], np.array("lstm")])
def test_cell(wrong: Any) -> None:
    problem = make("lstm", T, B, I, H)
    expected = f"^cell is a {called(wrong)}, expected a str$"
    for function in (functional.run, functional.run_vjp):
        with pytest.raises(TypeError, match=expected):
            function(wrong, *problem.layer[1:])
    for make_it in (_rnnfast.pack, lambda c, *w: _rnnfast.Stream(c, [w], 1)):
        with pytest.raises(TypeError, match=expected):
            make_it(wrong, *problem.layer[3:], None)


def test_variants() -> None:
    problem = make("rnn_tanh", T, B, I, H)
    for wrong in (3, None, ["tanh"]):
        for function, option in ((functional.rnn, "g1"), (functional.gru_vjp, "reset")):
            with pytest.raises(
                TypeError, match=rf"^{option} is {re.escape(repr(wrong))}, expected"
            ):
                function(*problem.layer[1:], **{option: wrong})


def test_pullback_arguments() -> None:
    problem = make("lstm", T, B, I, H)
    _, _, pullback = functional.run_vjp(*problem.layer)
    call: Any = pullback
    for skip in ("x", None, 3, np.array("x"), True):
        with pytest.raises(TypeError, match=f"^skip is a {called(skip)}, expected a tuple of name"):
            call(problem.da, skip=skip)
    with pytest.raises(TypeError, match=r"^a name in skip is a int, expected a str$"):
        call(problem.da, skip=(0,))
    with pytest.raises(TypeError, match=r"^pullback got an unexpected argument 'retian'$"):
        call(problem.da, retian=True)
    with pytest.raises(TypeError, match=r"^pullback got da twice$"):
        call(problem.da, da=problem.da)
    with pytest.raises(TypeError, match=r"^pullback takes da and dstate, got 3 positional"):
        call(problem.da, problem.dstate, True)
    assert call(da=problem.da, dstate=problem.dstate, skip=["x"]).keys() == {
        *("a0", "c0", "W_ax", "W_aa", "b_a", "b_aa")
    }


def test_arguments_of_run() -> None:
    problem = make("lstm", T, B, I, H)
    run: Any = _rnnfast.run
    arguments = (*problem.layer, None, None, False, None)
    want = run(*arguments)
    for missing, name in ((0, "cell"), (1, "x"), (10, "out")):
        with pytest.raises(TypeError, match=f"^run is missing its argument {name}$"):
            run(*arguments[:missing])
    with pytest.raises(TypeError, match=r"^run is missing its argument reverse$"):
        run(*arguments[:9], out=None)
    with pytest.raises(TypeError, match=r"^run takes 13 arguments, got 14$"):
        run(*arguments, True, None, None)
    with pytest.raises(TypeError, match=r"^run got an unexpected argument 'revers'$"):
        run(*arguments[:9], revers=False, out=None)
    with pytest.raises(TypeError, match=r"^run got 'x' twice$"):
        run(*arguments, x=problem.x)
    names = ("cell", "x", "state", "W_ax", "W_aa", "b_a", "b_aa", "peephole", "lengths")
    got = run(reverse=False, out=None, **dict(zip(names, arguments, strict=False)))
    assert_same_bits({"a": got[0]}, {"a": want[0]})
    stream = stream_of(problem)
    with pytest.raises(TypeError, match=r"^step is missing its argument x_t$"):
        stream.step(out=None)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^step got an unexpected argument 'x'$"):
        stream.step(problem.x[0], x=None)  # type: ignore[call-arg]


class Always(int):
    """Passes for a NumPy boolean by name, and is none."""


Always.__name__ = "bool"


def test_lengths() -> None:
    problem = make("lstm", T, B, I, H)
    for wrong in (True, np.True_, 1.0, "1", None, np.ones(1, int), np.array(1)):
        expected = rf"^lengths\[1\] is a {called(wrong)}, expected an integer$"
        with pytest.raises(TypeError, match=expected):
            functional.run(*problem.layer, lengths=[2, wrong, 1, 1])
    want = functional.run(*problem.layer, lengths=[2, 3, 1, 1])[0]
    for right in ([np.int8(2), Always(3), np.uint64(1), 1], np.array([2, 3, 1, 1], np.uint8)):
        assert_same_bits(
            {"a": functional.run(*problem.layer, lengths=right)[0]},
            {"a": want},  # type: ignore
        )
    for wrong in (np.array([1, 9, 1, 1]), [1, 9, 1, 1], np.array([1, 9, 1, 1], np.uint64)):
        with pytest.raises(ValueError, match=r"^lengths\[1\] is 9, expected 0 <= length <= T = 3$"):
            functional.run(*problem.layer, lengths=wrong)


def test_the_other_precision() -> None:
    problem = make("lstm", T, B, I, H, dtype="float32")
    wrong = problem.with_(W_aa=problem.W_aa.astype("float64"))
    with pytest.raises(
        TypeError,
        match=r"^W_aa has dtype float64, expected float32 as x has: convert it with"
        r' \.astype\("float32"\)$',
    ):
        wrong.run(functional)
    with pytest.raises(TypeError, match=r"^W_aa has dtype int64, expected float32 as x has$"):
        problem.with_(W_aa=problem.W_aa.astype("int64")).run(functional)


def stream_of(problem: Any) -> _rnnfast.Stream:
    stream = _rnnfast.Stream(problem.cell, [(*problem.layer[3:], problem.peephole)], B)
    stream.set_state(problem.stacked_state)
    return stream


@pytest.mark.parametrize(
    ("rows", "gone"),
    [
        (np.array([False, False, True, True]), [2, 3]),
        (np.array([True, True, False, False, True, False, True, True])[::2], [0, 2, 3]),
        (np.zeros(B, bool), []),
        (np.array([3, 1], np.uint8), [1, 3]),
        (range(2), [0, 1]),
        ((np.int64(2),), [2]),
    ],
)
def test_reset(rows: Any, gone: list[int]) -> None:
    problem = make("lstm", 1, B, I, H)
    stream = stream_of(problem)
    stream.reset(rows)
    for half, given in zip(stream.state, problem.stacked_state, strict=True):
        want = given.copy()
        want[:, gone] = 0
        assert (half == want).all()


@pytest.mark.parametrize(
    ("rows", "kind", "words"),
    [
        (1, TypeError, "rows is a int, expected integers or a boolean array"),
        (np.array(1), TypeError, "rows is a ndarray of dtype int64, expected integers or"),
        (True, TypeError, "rows is a bool, expected integers or a boolean array"),
        ([0, True], TypeError, "rows has a bool, expected integers"),
        ([0, np.True_], TypeError, "rows has a bool_?, expected integers"),
        ("12", TypeError, "rows has a str, expected integers"),
        ([0.5], TypeError, "rows has a float, expected integers"),
        (np.array([0.5]), TypeError, "rows has a float64, expected integers"),
        (np.ones((1, 1), int), TypeError, "rows has a ndarray of dtype int64, expected integers"),
        ([B], ValueError, "rows has 4, expected 0 <= row < B = 4"),
        ([0, -1], ValueError, "rows has -1, expected 0 <= row < B = 4"),
        (np.ones(3, bool), ValueError, r"rows has shape \(3,\), expected a mask of \(B,\) = "),
        (np.ones((B, 1), bool), ValueError, r"rows has shape \(4, 1\), expected a mask of \(B,\)"),
    ],
)
def test_reset_refuses(rows: Any, kind: type[Exception], words: str) -> None:
    problem = make("lstm", 1, B, I, H)
    stream = stream_of(problem)
    with pytest.raises(kind, match=f"^{words}"):
        stream.reset(rows)
    want = problem.stacked_state
    assert_same_bits(dict(enumerate(stream.state)), dict(enumerate(want)))  # type: ignore

"""Bad arguments: the error names the argument, what came and what was expected."""

from __future__ import annotations

import re
from inspect import signature
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from problems import Array, Problem, assert_same_bits, make
from rnnfast.reference import CELLS
from rnnfast.wrappers import RESERVED

every_cell = pytest.mark.parametrize("cell", CELLS)
T, B, I, H = 3, 2, 2, 4  # noqa: E741
ARRAYS = ("x", "a0", "c0", "W_ax", "W_aa", "b_a", "b_aa", "peephole")
GRADIENTS = ("da", "da_T", "dc_T")
DSTATE = r"(dstate|da_T|dc_T|dstate \([ac]\))"
WRONG_DTYPES = ("float16", "int64", "object", "longdouble", ">f8", "float32", "bool")


def problem_of(cell: str) -> Problem:
    return make(cell, T, B, I, H)


def refuse(F: ModuleType, problem: Problem, kind: type[Exception], words: str) -> None:
    """Both run and run_vjp raise, and leave every array as it was."""
    before = {name: array.copy() for name, array in problem.arrays()}
    with pytest.raises(kind, match=words):
        F.run(*problem.layer, **problem.options)
    with pytest.raises(kind, match=words):
        F.run_vjp(*problem.layer, **problem.options)
    if all(array.dtype != object for array in before.values()):
        assert_same_bits(dict(problem.arrays()), before)


def wrong_shapes(array: Array) -> list[Array]:
    """One axis longer, one shorter, one more, one fewer, none at all."""
    return [
        np.concatenate([array, array[:1]]),
        array[:-1],
        array[..., :-1],
        array[None],
        array.reshape(-1) if array.ndim > 1 else array[0:0],
        np.zeros((), array.dtype),
    ]


@every_cell
@pytest.mark.parametrize("name", ARRAYS)
def test_shapes(F: ModuleType, cell: str, name: str) -> None:
    problem = problem_of(cell)
    array = getattr(problem, name)
    if array is None:
        return
    for wrong in wrong_shapes(array):
        if name == "x" and wrong.ndim == 3 and wrong.shape[2] == I and wrong.shape[1] == B:
            continue  # another T is no mistake
        blamed = name
        if name == "x" and wrong.ndim == 3:
            blamed = "W_ax" if wrong.shape[1] == B else "a0"  # x sets the sizes
        if name == "W_ax" and wrong.shape[1:] == (I,) and len(wrong) % CELLS[cell].gates == 0:
            blamed = "W_aa"  # W_ax sets H
        came = wrong.shape if blamed == name else getattr(problem, blamed).shape
        words = rf"^{blamed} has shape {re.escape(str(came))}, expected \("
        refuse(F, problem.with_(**{name: wrong}), ValueError, words)


def test_the_message_in_full(F: ModuleType) -> None:
    problem = problem_of("lstm")
    refuse(
        F,
        problem.with_(W_aa=problem.W_aa.T.copy()),
        ValueError,
        r"^W_aa has shape \(4, 16\), expected \(4\*H, H\) = \(16, 4\) for lstm$",
    )


@every_cell
@pytest.mark.parametrize("dtype", WRONG_DTYPES)
@pytest.mark.parametrize("name", ARRAYS)
def test_dtypes(F: ModuleType, cell: str, name: str, dtype: str) -> None:
    problem = problem_of(cell)
    array = getattr(problem, name)
    if array is None:
        return
    wrong = problem.with_(**{name: array.astype(dtype)})
    blamed, came = name, np.dtype(dtype)
    if name == "x" and dtype == "float32":  # x sets the dtype that the others must have
        blamed, came = "W_ax", np.dtype("float64")
    refuse(F, wrong, TypeError, rf"^{blamed} has dtype {came}, expected ")


@every_cell
@pytest.mark.parametrize("name", ARRAYS)
def test_kinds(F: ModuleType, cell: str, name: str) -> None:
    problem = problem_of(cell)
    array = getattr(problem, name)
    if array is None:
        return
    for wrong in (array.tolist(), 1.0, "text", memoryview(array), {0: array}):
        words = rf"^{name} is a {type(wrong).__name__}, expected a [Nn]um"
        refuse(F, problem.with_(**{name: wrong}), TypeError, words)


@every_cell
@pytest.mark.parametrize("name", ["x", "W_ax", "W_aa"])
def test_none_where_it_has_no_meaning(F: ModuleType, cell: str, name: str) -> None:
    refuse(F, problem_of(cell).with_(**{name: None}), TypeError, rf"^{name} is a None")


@every_cell
def test_state_kind(F: ModuleType, cell: str) -> None:
    problem = problem_of(cell)
    a0: Any = problem.a0
    wrong: list[tuple[Any, type[Exception], str]]
    if problem.two_states:
        wrong = [(a0, TypeError, "is a ndarray"), ([a0, a0], TypeError, "is a list")]
        wrong += [(np.stack([a0, a0]), TypeError, "is a ndarray")]
        wrong += [((a0,) * n, ValueError, f"has {n} entries, expected 2") for n in (0, 1, 3)]
    else:
        tuples: tuple[Any, ...] = ((a0,), (a0, a0), (), (None, None))
        wrong = [(value, TypeError, "is a tuple") for value in tuples]
        wrong += [([a0], TypeError, "is a list")]
    for state, kind, words in wrong:
        for run in (F.run, F.run_vjp):
            with pytest.raises(kind, match=rf"^(state|a0) {words}"):
                run(cell, problem.x, state, *problem.layer[3:], **problem.options)
        _, _, pullback = F.run_vjp(*problem.layer, **problem.options)
        with pytest.raises(kind, match=rf"^{DSTATE} {words}"):
            pullback(problem.da, state)


@every_cell
def test_peephole_only_where_there_is_one(F: ModuleType, cell: str) -> None:
    problem = problem_of(cell)
    if CELLS[cell].params:
        refuse(F, problem.with_(peephole=None), TypeError, r"^peephole is a None")
    else:
        words = rf"^peephole was given, but {cell} has none$"
        refuse(F, problem.with_(peephole=np.zeros((3, H))), ValueError, words)


@every_cell
def test_no_hidden_units(F: ModuleType, cell: str) -> None:
    problem = problem_of(cell)
    empty = {
        "W_ax": np.zeros((0, I)),
        "W_aa": np.zeros((0, 0)),
        "a0": None,
        "c0": None,
        "b_a": None,
        "b_aa": None,
    }
    refuse(
        F,
        problem.with_(**empty),
        ValueError,
        r"^W_ax has shape \(0, 2\), expected \((\d\*)?H, I\) with H > 0",
    )


@every_cell
@pytest.mark.parametrize(
    ("lengths", "kind"),
    [
        ([-1, 2], ValueError),
        ([T + 1, 2], ValueError),
        (np.array([2**63, 1], np.uint64), ValueError),
        ([1], ValueError),
        ([1, 2, 3], ValueError),
        ([[1, 2]], TypeError),
        (np.array([[1, 2]]), ValueError),
        ([], ValueError),
        ([True, False], TypeError),
        (np.array([True, False]), TypeError),
        ([1.0, 2.0], TypeError),
        (np.array([1.0, 2.0]), TypeError),
        (["1", "2"], TypeError),
        ([None, 1], TypeError),
        (2, TypeError),
        ("12", TypeError),
    ],
)
def test_lengths(F: ModuleType, cell: str, lengths: Any, kind: Any) -> None:
    refuse(F, problem_of(cell).with_(lengths=lengths), kind, r"^lengths(\[\d\])? (has|is) ")


def test_the_message_of_a_length(F: ModuleType) -> None:
    words = r"^lengths\[1\] is 9, expected 0 <= length <= T = 3$"
    for lengths in ([1, 9], np.array([1, 9])):
        refuse(F, problem_of("lstm").with_(lengths=lengths), ValueError, words)


@every_cell
def test_out(F: ModuleType, cell: str) -> None:
    problem = problem_of(cell)
    right = np.full((T, B, H), 7.0)
    frozen = right.copy()
    frozen.flags.writeable = False
    for wrong, kind in (
        (right[:-1], ValueError),
        (right[..., :-1], ValueError),
        (right[0], ValueError),
        (right.astype("float32"), TypeError),
        (right.tolist(), TypeError),
        (frozen, ValueError),
    ):
        for run in (F.run, F.run_vjp):
            with pytest.raises(kind, match=r"^out (has|is) "):
                run(*problem.layer, **problem.options, out=wrong)
    assert (right == 7.0).all()


@every_cell
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(F: ModuleType, cell: str, name: str) -> None:
    problem = problem_of(cell)
    array = getattr(problem, name)
    if array is None:
        return
    wrong: list[tuple[Any, type[Exception]]] = [(w, ValueError) for w in wrong_shapes(array)]
    wrong += [(array.astype(dtype), TypeError) for dtype in WRONG_DTYPES]
    wrong += [(array.tolist(), TypeError), (1.0, TypeError), ("text", TypeError)]
    _, _, pullback = F.run_vjp(*problem.layer, **problem.options)
    for value, kind in wrong:
        case = problem.with_(**{name: value})
        blamed = "da" if name == "da" else DSTATE
        with pytest.raises(kind, match=rf"^{blamed} (has|is) "):
            pullback(case.da, case.dstate)


@pytest.mark.parametrize("cell", ["elman", "", "LSTM", "rnn"])
def test_unknown_cell(F: ModuleType, cell: str) -> None:
    problem = problem_of("lstm")
    for run in (F.run, F.run_vjp):
        with pytest.raises(
            ValueError, match=rf"^cell is '{cell}', expected one of .*lstm_peephole"
        ):
            run(cell, *problem.layer[1:], **problem.options)


@pytest.mark.parametrize(
    ("function", "option"),
    [("rnn", "g1"), ("rnn_vjp", "g1"), ("gru", "reset"), ("gru_vjp", "reset")],
)
@pytest.mark.parametrize(
    ("value", "kind"),
    [("softmax", ValueError), ("", ValueError), (None, TypeError), (3, TypeError)],
)
def test_unknown_variant(
    F: ModuleType, function: str, option: str, value: Any, kind: type[Exception]
) -> None:
    problem = problem_of("rnn_tanh" if "rnn" in function else "gru_after")
    with pytest.raises(kind, match=rf"^{option} is {value!r}, expected one of "):
        getattr(F, function)(*problem.layer[1:], **{option: value})


@pytest.mark.parametrize("wrong", ["no", 1, None, np.ones(1)])
def test_kinds_of_flags(F: ModuleType, wrong: Any) -> None:
    problem = problem_of("lstm")
    for name, functions in (("reverse", (F.run, F.run_vjp)), ("checkpoint", (F.run_vjp,))):
        for run in functions:
            with pytest.raises(TypeError, match=rf"^{name} is .*, expected True or False$"):
                run(*problem.layer, **{name: wrong})
    _, _, pullback = F.run_vjp(*problem.layer)
    with pytest.raises(TypeError, match=r"^retain is .*, expected True or False$"):
        pullback(retain=wrong)
    assert pullback(retain=np.True_).keys() == pullback().keys()


def test_kinds_of_skip(F: ModuleType) -> None:
    problem = problem_of("lstm")
    _, _, pullback = F.run_vjp(*problem.layer)
    with pytest.raises(TypeError, match=r"^skip is a str, expected a tuple of names$"):
        pullback(skip="x")
    words = r"^skip has 'W_xa', expected names among x, a0, c0, W_ax, W_aa, b_a, b_aa, peephole$"
    with pytest.raises(ValueError, match=words):
        pullback(skip=("x", "W_xa"))
    assert pullback(skip=("x",)).keys() == {"a0", "c0", "W_ax", "W_aa", "b_a", "b_aa"}


FUNCTIONS = {
    "rnn": "rnn_tanh",
    "rnn_vjp": "rnn_tanh",
    "lstm": "lstm",
    "lstm_vjp": "lstm",
    "gru": "gru_after",
    "gru_vjp": "gru_after",
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", RESERVED)
def test_reserved_names(F: ModuleType, function: str, name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is reserved for a later version"):
        getattr(F, function)(*problem_of(FUNCTIONS[function]).layer[1:], **{name: None})


@pytest.mark.parametrize("function", FUNCTIONS)
def test_misspelt_names(F: ModuleType, function: str) -> None:
    with pytest.raises(TypeError, match=r"^unexpected keyword argument 'lenghts'$"):
        getattr(F, function)(*problem_of(FUNCTIONS[function]).layer[1:], lenghts=[1, 2])


@pytest.mark.parametrize("function", ["run", "run_vjp", *FUNCTIONS])
def test_signatures_agree(function: str) -> None:
    from rnnfast import functional, reference

    names = [
        [(p.name, p.kind, p.default) for p in signature(getattr(F, function)).parameters.values()]
        for F in (functional, reference)
    ]
    assert names[0] == names[1]

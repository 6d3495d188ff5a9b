"""rnn, lstm, gru and their _vjp are `run` and `run_vjp` of the variant that their options name."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from problems import assert_same_bits, make
from rnnfast import functional
from rnnfast.reference import CELLS
from rnnfast.wrappers import Wrappers

VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    ("rnn", "rnn_tanh", {}),
    *(("rnn", name, {"g1": name[4:]}) for name in CELLS if name.startswith("rnn_")),
    ("lstm", "lstm", {}),
    ("lstm", "lstm_peephole", {}),
    ("gru", "gru_after", {}),
    *(("gru", name, {"reset": name[4:]}) for name in CELLS if name.startswith("gru_")),
]


@pytest.mark.parametrize(("function", "cell", "options"), VARIANTS)
def test_wrappers(F: ModuleType, function: str, cell: str, options: dict[str, Any]) -> None:
    problem = make(cell, T=4, B=3, I=2, H=5, lengths=[2, 4, 0], reverse=True)
    want = problem.vjp(F)
    options = options | {"lengths": problem.lengths, "reverse": True}
    if problem.peephole is not None:
        options["peephole"] = problem.peephole

    out = np.full_like(want["a"], np.nan)
    a, state = getattr(F, function)(*problem.layer[1:], **options, out=out)
    assert a is out
    finals = {"a_T": state[0], "c_T": state[1]} if problem.two_states else {"a_T": state}
    assert_same_bits({"a": a} | finals, {name: want[name] for name in ("a", *finals)})

    for checkpoint in (False, True):
        a, _, pullback = getattr(F, f"{function}_vjp")(
            *problem.layer[1:], **options, checkpoint=checkpoint
        )
        assert_same_bits({"a": a}, {"a": want["a"]})
        grads = pullback(problem.da, problem.dstate)
        expected = problem.vjp(F, checkpoint=checkpoint)
        assert_same_bits(grads, {name: expected[f"d{name}"] for name in grads})


def recorded() -> tuple[Wrappers, list[dict[str, Any]]]:
    """Wrappers that write down what they hand to run or run_vjp, and what they wrote down."""
    calls: list[dict[str, Any]] = []
    names = ("cell", "x", "state", "W_ax", "W_aa", "b_a", "b_aa")
    names += ("peephole", "lengths", "reverse", "out")

    def run(*arguments: Any) -> Any:
        calls.append(dict(zip(names, arguments, strict=True)))

    def run_vjp(*arguments: Any) -> Any:
        calls.append(dict(zip((*names, "sequence", "checkpoint"), arguments, strict=True)))

    return Wrappers(run, run_vjp, CELLS), calls


FUNCTIONS = ("rnn", "rnn_vjp", "lstm", "lstm_vjp", "gru", "gru_vjp")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_argument_is_handed_on(function: str) -> None:
    wrappers, calls = recorded()
    names = ["x", "state", "W_ax", "W_aa", "b_a", "b_aa", "lengths", "reverse", "out"]
    names += ["checkpoint"] if "vjp" in function else []
    names += ["peephole"] if "lstm" in function else []
    given: dict[str, Any] = {name: object() for name in names}
    options = dict(list(given.items())[6:])
    getattr(wrappers, function)(*list(given.values())[:6], **options)
    assert calls[0].pop("cell") in ("rnn_tanh", "lstm_peephole", "gru_after")
    assert calls[0].pop("sequence", True) is True
    assert calls == [{"peephole": None} | given]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_defaults(function: str) -> None:
    wrappers, calls = recorded()
    getattr(wrappers, function)(1, 2, 3, 4)
    want = {"x": 1, "state": 2, "W_ax": 3, "W_aa": 4, "b_a": None, "b_aa": None}
    want |= {"peephole": None, "lengths": None, "reverse": False, "out": None}
    want |= {"sequence": True, "checkpoint": False} if "vjp" in function else {}
    cell = {"rnn": "rnn_tanh", "lstm": "lstm", "gru": "gru_after"}[function.removesuffix("_vjp")]
    assert calls == [want | {"cell": cell}]


def test_defaults_of_run(F: ModuleType) -> None:
    """Forwards, and without checkpoints, whose gradients have other bits in the kernels."""
    problem = make("lstm", T=40, B=3, I=2, H=5, dtype="float32")
    a, state = F.run(*problem.layer)
    assert_same_bits({"a": a, "a_T": state[0], "c_T": state[1]}, problem.run(F))
    grads = F.run_vjp(*problem.layer)[2](problem.da, problem.dstate)
    want = problem.vjp(F)
    assert_same_bits(grads, {name: want[f"d{name}"] for name in grads})


@pytest.mark.parametrize("checkpoint", [False, True])
def test_checkpoint_reaches_the_kernels(checkpoint: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    native = functional._rnnfast.run_vjp
    monkeypatch.setattr(functional._rnnfast, "run_vjp", lambda *a: calls.append(a) or native(*a))
    problem = make("lstm", T=4, B=3, I=2, H=5)
    problem.vjp(functional, checkpoint=checkpoint)
    functional.run_vjp(*problem.layer)
    assert [call[-1] for call in calls] == [checkpoint, False]


def test_a_new_cell_of_the_registry_is_a_variant() -> None:
    """What the kernels and the reference are given is all that the wrappers know."""
    called = []

    def run(cell: str, *arguments: Any, **options: Any) -> Any:
        called.append(cell)

    wrappers = Wrappers(run, run, ["rnn_tanh", "rnn_softsign", "gru_never"])
    wrappers.rnn(*[None] * 4, g1="softsign")
    wrappers.gru_vjp(*[None] * 4, reset="never")
    assert called == ["rnn_softsign", "gru_never"]
    with pytest.raises(ValueError, match=r"^g1 is 'relu', expected one of tanh, softsign$"):
        wrappers.rnn(*[None] * 4, g1="relu")

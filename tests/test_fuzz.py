"""The fuzzer: what is wrong, crashes or hangs is a finding, and nothing else is."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz import __main__ as fuzz
from fuzz import child, functional
from rnnfast import _rnnfast, reference


def follow(code: str) -> fuzz.Fuzz:
    state = fuzz.Fuzz(seed=5, deadline=time.monotonic() + 60, most=10)
    fuzz.Child(state, _rnnfast.isa(), ["-c", code]).follow()
    return state


def test_a_crash(capsys: pytest.CaptureFixture[str]) -> None:
    state = follow("import os; print('begin 7\\nis lstm T=3', flush=True); os.abort()")
    assert state.findings == {"lstm SIGABRT": 1}
    out = capsys.readouterr().out
    assert "FINDING SIGABRT\n  lstm T=3\n" in out
    assert f"RNNFAST_ISA={_rnnfast.isa()} python -m tests.fuzz --seed 5 --case 7\n" in out


def test_a_hang(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(fuzz, "LONGEST", 1)
    state = follow("import time; print('begin 3', flush=True); time.sleep(60)")
    assert state.findings == {" no end after # seconds": 1}
    assert "--seed 5 --case 3\n" in capsys.readouterr().out


def test_an_end_without_a_word() -> None:
    assert follow("print('begin 3'); exit(4)").findings == {" exit status #": 1}


def test_one_case_again(capsys: pytest.CaptureFixture[str]) -> None:
    state = fuzz.Fuzz(seed=1, deadline=time.monotonic() + 60, most=10)
    fuzz.Child(state, _rnnfast.isa(), fuzz.command(1, 2, 0)).follow()
    assert (state.cases, dict(state.findings), capsys.readouterr().out) == (1, {}, "")


class Wrong:
    """The reference, but with an error of one result."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *arguments: Any, **options: Any) -> Any:
        a, state = reference.run(*arguments, **options)
        return (a + 1, state) if self.name == "a" else (a, state)

    def run_vjp(self, *arguments: Any, checkpoint: bool, **options: Any) -> Any:
        a, state, pullback = reference.run_vjp(*arguments, **options)

        def wrong(da: Any, dstate: Any, **options: Any) -> dict[str, Any]:
            grads = pullback(da, dstate, **options)
            return {k: g + (g.size > 0) if k == self.name else g for k, g in grads.items()}

        return a, state, wrong


@pytest.mark.parametrize("name", ["a", "W_aa", "a0"])
def test_a_wrong_number(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(functional, "functional", Wrong(name))
    said: list[str] = []
    with pytest.raises(AssertionError):
        functional.check(np.random.default_rng(3), said.append)
    assert said


def test_every_kind_has_its_share() -> None:
    assert {kind.__module__.rpartition(".")[2] for kind in child.KINDS} == {
        "functional", "layers", "calls", "sizes",
    }  # fmt: skip
    assert os.path.samefile(fuzz.TESTS, Path(__file__).parent)

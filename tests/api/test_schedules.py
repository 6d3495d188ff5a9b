"""Schedules by their formulas, the plateau by hand, and bad input."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rnnfast
from problems import assert_same_bits
from rnnfast import optim, schedules
from rnnfast.schedules import Plateau


def values(schedule: Callable[[int], float], steps: int) -> list[float]:
    return [schedule(step) for step in range(steps)]


def test_formulas() -> None:
    assert values(schedules.constant(0.5), 3) == [0.5, 0.5, 0.5]
    assert values(schedules.step_decay(8.0, 2, 0.5), 6) == [8, 8, 4, 4, 2, 2]
    assert schedules.step_decay(1.0, 3)(3) == 0.1
    half = math.sqrt(0.5)
    want = [1.0, (1 + half) / 2, 0.5, (1 - half) / 2, 0.0, 0.0]
    assert values(schedules.cosine(1.0, 4), 6) == pytest.approx(want, abs=1e-16)
    want = [0.25 + 0.75 * value for value in want]
    assert values(schedules.cosine(1.0, 4, end=0.25), 6) == pytest.approx(want, abs=1e-16)
    warm = schedules.warmup(schedules.step_decay(8.0, 3, 0.5), 4)
    assert values(warm, 6) == [2, 4, 6, 4, 4, 4]
    assert warm(np.int64(1)) == 4


def test_an_optimiser_takes_every_value() -> None:
    adam = optim.Adam({"w": np.ones(1)})
    schedule = schedules.warmup(schedules.cosine(1e-2, 5), 2)
    for step in range(7):  # past the end, where the learning rate is 0
        adam.lr = schedule(step)
        adam.step({"w": np.ones(1)})
    assert adam.lr == 0.0


def test_plateau() -> None:
    plateau = Plateau(1.0, 0.5, 2, min_delta=0.1, min_lr=0.2)
    losses = [3.0, 2.95, 2.91, 2.9, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, -math.inf]
    rates = [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2, 0.2, 0.2, 0.2]
    assert [plateau.step(loss) for loss in losses] == rates
    assert plateau.lr == 0.2
    assert plateau.config() == {
        "lr": 1.0, "factor": 0.5, "patience": 2, "min_delta": 0.1, "min_lr": 0.2,
    }  # fmt: skip
    assert repr(Plateau(1)) == "Plateau(lr=1.0, factor=0.1, patience=10, min_delta=0.0, min_lr=0.0)"


def test_plateau_waits_longer_than_its_patience() -> None:
    plateau = Plateau(1.0)
    assert [plateau.step(2.0) for _ in range(11)] == [1.0] * 11  # the first is the best
    assert plateau.step(2.0) == 0.1
    eager = Plateau(1.0, patience=0)
    assert [eager.step(loss) for loss in (2.0, 1.0, 1.0)] == [1.0, 1.0, 0.1]


@pytest.mark.parametrize("how", ["load", "deepcopy", "pickle"])
def test_plateau_goes_on_from_its_state(how: str) -> None:
    plateau = Plateau(1.0, patience=1)
    for loss in (2.0, 1.0, 1.5):
        plateau.step(loss)
    if how == "load":
        twin = Plateau(1.0, patience=1)
        twin.load(plateau.state.copy())
    else:
        twin = copy.deepcopy(plateau) if how == "deepcopy" else pickle.loads(pickle.dumps(plateau))
    assert twin.step(1.5) == plateau.step(1.5) == 0.1
    twin.step(0.0)
    assert plateau.state["best"] == 1.0
    plateau.step(0.0)
    assert_same_bits(twin.state, plateau.state)


CASES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: schedules.constant(-1), ValueError, r"lr is -1.0, expected a number in \[0, inf\)"),
    (lambda: schedules.constant(1.0)(-1), ValueError, "step is -1, expected an integer >= 0"),
    (lambda: schedules.cosine(1.0, 0), ValueError, "steps is 0, expected an integer >= 1"),
    (lambda: schedules.cosine("1", 1), TypeError, r"lr is '1', expected a number in \[0, inf\)"),  # type: ignore[arg-type]
    (lambda: schedules.cosine(1.0, 1)(0.5), TypeError, "step is 0.5, expected an integer >= 0"),  # type: ignore[arg-type]
    (
        lambda: schedules.cosine(1.0, 1, end=math.nan), ValueError,
        r"end is nan, expected a number in \[0, inf\)",
    ),
    (lambda: schedules.step_decay(-1.0, 1), ValueError, "lr is -1.0, expected a number in"),
    (lambda: schedules.step_decay(1.0, 0), ValueError, "every is 0, expected an integer >= 1"),
    (lambda: schedules.step_decay(1.0, 1)(-1), ValueError, "step is -1, expected an integer >= 0"),
    (
        lambda: schedules.step_decay(1.0, 1, 1.5), ValueError,
        r"factor is 1.5, expected a number in \(0, 1\]",
    ),
    (lambda: schedules.warmup(0.1, 5), TypeError, "schedule is 0.1, expected a function"),  # type: ignore[arg-type]
    (
        lambda: schedules.warmup(schedules.constant(1.0), 0), ValueError,
        "steps is 0, expected an integer >= 1",
    ),
    (
        lambda: schedules.warmup(schedules.constant(1.0), 1)(-1), ValueError,
        "step is -1, expected an integer >= 0",
    ),
    (lambda: Plateau(-1.0), ValueError, r"lr is -1.0, expected a number in \[0, inf\)"),
    (lambda: Plateau(1.0, 1.0), ValueError, r"factor is 1.0, expected a number in \(0, 1\)"),
    (lambda: Plateau(1.0, patience=-1), ValueError, "patience is -1, expected an integer >= 0"),
    (
        lambda: Plateau(1.0, min_delta=-1), ValueError,
        r"min_delta is -1.0, expected a number in \[0, inf\)",
    ),
    (
        lambda: Plateau(1.0, min_lr=-1), ValueError,
        r"min_lr is -1.0, expected a number in \[0, inf\)",
    ),
    (
        lambda: Plateau(1.0).step(math.nan), ValueError,
        r"loss is nan, expected a number in \[-inf, inf\]",
    ),
    (lambda: Plateau(1.0).load({}), ValueError, "state has the keys"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "words"), CASES)
def test_bad_input(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=f"^{words}"):
        call()


def test_reached_from_the_package() -> None:
    assert rnnfast.schedules is schedules

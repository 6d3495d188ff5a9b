"""Optimisers copied and pickled, alone and together with their model."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rnnfast
from optim_kinds import KINDS, draw, every_kind
from problems import assert_same_bits
from rnnfast import optim

COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda what: pickle.loads(pickle.dumps(what)),
}


@pytest.mark.parametrize("how", COPIES)
@every_kind
def test_copies_step_alike_and_apart(kind: str, how: str) -> None:
    params = draw(0)
    optimiser = KINDS[kind](params, groups={"b*": {"lr_scale": 0.5}})
    optimiser.step(draw(1))
    twin = COPIES[how](optimiser)
    assert twin.config() == optimiser.config()
    before = {name: p.copy() for name, p in params.items()}
    twin.step(draw(2))
    assert_same_bits(params, before)
    optimiser.step(draw(2))
    assert_same_bits(twin.params, params)
    assert_same_bits(twin.state, optimiser.state)
    twin.lr = 0.25
    assert optimiser.lr != 0.25


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("how", COPIES)
def test_copied_with_its_model_it_stays_connected(how: str, frozen: bool) -> None:
    model = rnnfast.LSTM(2, 3, rng=0)
    adam = optim.Adam(model.params)
    if frozen:
        model.freeze()
    twin, twin_adam = COPIES[how]((model, adam))
    twin.unfreeze()
    twin_adam.step({name: np.ones_like(p) for name, p in model.params.items()})
    for name, p in model.params.items():
        assert (twin.params[name] != p).all()
        assert twin_adam.params[name] is twin.params[name]


def test_shallow_copy_steps_the_same_parameters() -> None:
    w = np.ones(2)
    adam = optim.Adam({"w": w})
    adam.step({"w": w.copy()})
    twin = copy.copy(adam)
    assert twin.params["w"] is w
    twin.lr = 0.5
    twin.step({"w": w.copy()})
    assert twin.state["step"] == 2
    assert adam.state["step"] == 1
    assert adam.lr == 1e-3
    assert (adam.state["m.w"] != twin.state["m.w"]).all()

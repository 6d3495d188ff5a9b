"""The optimisers that tests run, and parameters and gradients for them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from problems import Array
from rnnfast import optim

SHAPES = {"weight": (7, 5), "bias": (33,), "scalar": (), "empty": (0, 3)}
KINDS: dict[str, Callable[..., optim.Optimizer]] = {
    "SGD": optim.SGD,
    "SGD momentum": lambda params, **k: optim.SGD(params, momentum=0.9, **k),
    "Adam": lambda params, **k: optim.Adam(params, beta1=0.8, beta2=0.9, eps=1e-6, **k),
    "AdamW": lambda params, **k: optim.AdamW(params, beta1=0.8, beta2=0.9, eps=1e-6, **k),
    "RMSprop": lambda params, **k: optim.RMSprop(params, alpha=0.9, eps=1e-6, **k),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def draw(seed: int, dtype: str = "float64") -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.standard_normal(s), dtype) for name, s in SHAPES.items()}

"""The error of exp, tanh and sigmoid in units in the last place, and their special values.

Bounds: float32 exp 2, tanh and sigmoid 3, one more in the baseline tier, which has no fused
multiply-add; float64 4. A result below the smallest normal number may be 0. Every 257th float32
is tried, or every RNNFAST_ULP_STRIDE-th.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from problems import Array
from rnnfast import _rnnfast

STRIDE = int(os.environ.get("RNNFAST_ULP_STRIDE", "257"))
CHUNK = 1 << 20

EXACT: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "tanh": np.tanh,
    "sigmoid": lambda s: 1 / (1 + np.exp(-s)),
}
FLOAT32_BOUND = {"exp": 2.0, "tanh": 3.0, "sigmoid": 3.0}


def bound(name: str, dtype: str) -> float:
    if dtype == "float64":
        return 4.0
    return FLOAT32_BOUND[name] + (_rnnfast.isa() == "baseline")


def ulp_error(got: Array, exact: Array) -> float:
    """The largest error; exact in a wider type, both without NaN."""
    info = np.finfo(got.dtype)
    wide = exact.dtype.type
    tiny = wide(info.tiny) * (1 + 4 * wide(info.eps))
    limit = 2 * wide(2) ** (info.maxexp - 1)  # the first power of 2 that overflows
    assert np.isposinf(got[exact > limit * (1 + 4 * wide(info.eps))]).all()
    exact, value = np.minimum(exact, limit), np.minimum(got.astype(wide), limit)
    near = np.minimum(np.abs(exact), info.max).astype(got.dtype)
    error = np.abs(value - exact) / np.spacing(near).astype(wide)
    error[(np.abs(exact) < tiny) & (got == 0)] = 0
    return float(error.max(initial=0))


def every_float32() -> Iterator[Array]:
    """All bit patterns but those of NaN, in chunks."""
    for start in range(0, 1 << 32, CHUNK * STRIDE):
        bits = np.arange(start, min(start + CHUNK * STRIDE, 1 << 32), STRIDE, dtype=np.uint64)
        values = bits.astype(np.uint32).view(np.float32)
        yield values[~np.isnan(values)]


def many_float64() -> Array:
    """Numbers over the whole range where the functions are not constant, and around its ends."""
    rng = np.random.default_rng(0)
    sign = rng.choice([-1.0, 1.0], 200_000)
    edges = [-745.2, -708.4, -37.0, -22.0, -19.0, -0.7, 0.35, 0.55, 0.7, 19.0, 22.0, 37.0, 709.8]
    return np.concatenate(
        [
            rng.uniform(-760, 760, 200_000),
            rng.uniform(-1, 1, 200_000),
            rng.uniform(-25, 25, 200_000),
            sign * 10.0 ** rng.uniform(-310, 3, 200_000),
            *(np.linspace(edge - 0.1, edge + 0.1, 10_000) for edge in edges),
        ]
    )


@pytest.mark.parametrize("name", EXACT)
def test_float32(name: str) -> None:
    worst = 0.0
    with np.errstate(over="ignore"):
        for values in every_float32():
            exact = EXACT[name](values.astype(np.float64))
            worst = max(worst, ulp_error(_rnnfast.activation(name, values), exact))
    assert worst <= bound(name, "float32")


@pytest.mark.parametrize("name", EXACT)
def test_float64(name: str) -> None:
    values = many_float64()
    with np.errstate(over="ignore"):
        exact = EXACT[name](values.astype(np.longdouble))
        assert ulp_error(_rnnfast.activation(name, values), exact) <= bound(name, "float64")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("exp", [(0.0, 1.0), (-0.0, 1.0), (np.inf, np.inf), (-np.inf, 0.0), (1e4, np.inf)]),
        ("exp", [(-1e4, 0.0), (1e30, np.inf), (-1e30, 0.0)]),
        ("tanh", [(0.0, 0.0), (-0.0, -0.0), (np.inf, 1.0), (-np.inf, -1.0), (50.0, 1.0)]),
        ("tanh", [(-50.0, -1.0), (1e30, 1.0), (-1e30, -1.0)]),
        ("sigmoid", [(0.0, 0.5), (-0.0, 0.5), (np.inf, 1.0), (-np.inf, 0.0), (100.0, 1.0)]),
        ("sigmoid", [(-1e4, 0.0), (1e30, 1.0), (-1e30, 0.0)]),
    ],
)
def test_special_values(name: str, pairs: list[tuple[float, float]], dtype: str) -> None:
    values, want = np.array(pairs, dtype).T
    got = _rnnfast.activation(name, np.ascontiguousarray(values))
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EXACT)
def test_nan_and_every_length(name: str, dtype: str) -> None:
    """Lanes do not mix: NaN gives NaN in its own place, at each length around the vectors."""
    for n in range(36):
        values = np.linspace(-2, 2, n).astype(dtype)
        want = EXACT[name](values.astype(np.float64))
        got = _rnnfast.activation(name, values)
        assert got.shape == (n,)
        np.testing.assert_allclose(got, want, rtol=float(8 * np.finfo(dtype).eps))
        for place in range(n):
            holed = values.copy()
            holed[place] = np.nan
            holed = _rnnfast.activation(name, holed)
            assert np.isnan(holed[place])
            assert (np.delete(holed, place) == np.delete(got, place)).all()

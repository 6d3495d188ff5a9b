"""A layer of one's own: the example in the docstring of Layer, and one with parameters."""

from __future__ import annotations

import copy
import pickle
import textwrap
from typing import Any

import numpy as np
import pytest
import rnnfast
from layer_problems import B, T
from numpy.testing import assert_allclose, assert_array_equal
from problems import Array, assert_same_bits, ragged
from rnnfast import GRU, LSTM, Dense, Dropout, Sequential, optim
from rnnfast.layers import Call, Gradients, Layer, Stream


def mean_of_the_docstring() -> type[Layer]:
    doc = textwrap.dedent((Layer.__doc__ or "").split("to (B, I)::\n", 1)[1])
    example = doc.split("\n\nWith parameters", 1)[0]
    assert 15 < len(example.strip().splitlines()) < 25
    scope: dict[str, Any] = {"np": np, "Layer": Layer, "Gradients": Gradients}
    exec(textwrap.dedent(example), scope)
    made: type[Layer] = scope["Mean"]
    return made


Mean = mean_of_the_docstring()


class Scale(Layer):
    """y = weight * x."""

    def __init__(self, input_size: int, dtype: str = "float32") -> None:
        self.input_size = self.output_size = input_size
        self.dtype = np.dtype(dtype)
        self.params = {"weight": np.full(input_size, 2, dtype)}

    def forward(self, call: Call) -> tuple[Array, Any]:
        return self.params["weight"] * call.x, None

    def forward_vjp(self, call: Call) -> tuple[Array, Any, Any]:
        def backward(dy: Array, dstate: Any, retain: bool, skip: frozenset[str]) -> Gradients:
            dW = (dy * call.x).reshape(-1, dy.shape[-1]).sum(axis=0)
            grads = {} if "weight" in skip else {"weight": dW}
            return Gradients(dy * self.params["weight"] if call.need_x else None, None, grads)

        return *self.forward(call), backward


@pytest.mark.parametrize("lengths", [None, ragged(T, B)], ids=["whole", "ragged"])
def test_mean_over_time(lengths: Any) -> None:
    x = np.random.default_rng(0).standard_normal((T, B, 3))
    if lengths is not None:
        x[np.arange(T)[:, None] >= lengths] = np.nan
    n = np.full(B, T) if lengths is None else lengths
    mean = Mean()
    y, state, pullback = mean.vjp(x, lengths=lengths, need_x=True)
    assert state is None
    assert_array_equal(mean(x, lengths=lengths)[0], y)
    dy = np.random.default_rng(1).standard_normal((B, 3))
    grads = pullback(dy)
    for b in range(B):
        want = x[: n[b], b].mean(axis=0) if n[b] else np.zeros(3)
        assert_allclose(y[b], want, rtol=0, atol=1e-15)
        assert_allclose(grads.x[: n[b], b], np.broadcast_to(dy[b] / max(n[b], 1), (n[b], 3)))
        assert not grads.x[n[b] :, b].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lengths", [None, ragged(T, B)], ids=["whole", "ragged"])
def test_inside_a_chain(lengths: Any, dtype: str) -> None:
    """The mean between an LSTM and a Dense: as the three by hand, and the gradients as well."""
    rng = np.random.default_rng(0)
    lstm, scale = LSTM(3, 4, dtype=dtype, rng=1), Scale(4, dtype)
    dense = Dense(4, 2, dtype=dtype, rng=2)
    chain = Sequential(lstm=lstm, scale=scale, mean=Mean(), out=dense)
    assert chain.dtype == dtype
    assert (chain.input_size, chain.output_size, chain.ends_sequence) == (3, 2, True)
    x = rng.standard_normal((T, B, 3)).astype(dtype)
    y, state, pullback = chain.vjp(x, lengths=lengths, need_x=True)
    a, end, back_lstm = lstm.vjp(x, lengths=lengths, need_x=True)
    s, _, back_scale = scale.vjp(a, lengths=lengths, need_x=True)
    m, _, back_mean = Mean().vjp(s, lengths=lengths, need_x=True)
    want, _, back_dense = dense.vjp(m, need_x=True)
    assert y.shape == (B, 2)
    assert y.dtype == dtype
    assert_array_equal(y, want)
    assert_array_equal(chain(x, lengths=lengths)[0], want)
    assert_array_equal(np.stack(state[0]), np.stack(end))
    dy = rng.standard_normal((B, 2)).astype(dtype)
    grads, by_dense = pullback(dy), back_dense(dy)
    by_scale = back_scale(back_mean(by_dense.x).x)
    by_lstm = back_lstm(by_scale.x)
    assert_array_equal(grads.x, by_lstm.x)
    parts = {"lstm": by_lstm, "scale": by_scale, "out": by_dense}
    assert_same_bits(
        grads.params, {f"{n}.{k}": g for n, part in parts.items() for k, g in part.params.items()}
    )


def test_its_gradient_by_differences() -> None:
    chain = Sequential(GRU(2, 3, dtype="float64", rng=1), Scale(3, "float64"), Mean())
    rng = np.random.default_rng(0)
    x, dy, lengths = rng.standard_normal((T, B, 2)), rng.standard_normal((B, 3)), ragged(T, B)
    weight = chain.params["1.weight"]
    grads = chain.vjp(x, lengths=lengths)[2](dy).params
    for i in range(3):
        losses = []
        for h in (1e-5, -1e-5):
            weight[i] += h
            losses.append((chain(x, lengths=lengths)[0] * dy).sum())
            weight[i] -= h
        assert grads["1.weight"][i] == pytest.approx((losses[0] - losses[1]) / 2e-5, abs=2e-9)


def test_ends_of_sequences() -> None:
    x = np.ones((T, B, 3), np.float32)
    chain = Sequential(LSTM(3, 4), Mean())
    with pytest.raises(
        ValueError, match=r"^return_sequence is False, expected True: layers\[1\] = .* ends the seq"
    ):
        chain(x, return_sequence=False)
    with pytest.raises(ValueError, match=r"^layers\[1\] = GRU\(3, 4\) reads a sequence, expected "):
        Sequential(Mean(), GRU(3, 4))
    with pytest.raises(ValueError, match=r"^layers\[2\] = Mean\(\) reads a sequence, expected no"):
        Sequential(Mean(), Dense(3, 4), Mean())
    with pytest.raises(ValueError, match=r"^Mean\(\) has no stream"):
        chain.stream()
    nested = Sequential(chain, Dense(4, 2))
    assert nested(x, lengths=[5, 1, 0, 2])[0].shape == (B, 2)
    with pytest.raises(
        ValueError, match=r"^layers\[1\] = GRU.* reads a sequence, expected none af"
    ):
        Sequential(chain, GRU(4, 2))


def test_parameters_of_ones_own() -> None:
    layer = Scale(3)
    assert layer.num_parameters == 3
    with pytest.raises(AttributeError, match=r"^params cannot be replaced: load"):
        layer.params = {"weight": np.ones(3, np.float32)}
    before = layer.params.copy()
    for how in (copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))):
        layer.freeze()
        twin = how(layer)
        assert not twin.params["weight"].flags.writeable
        twin.unfreeze()
        twin.params["weight"][...] = 7
        layer.unfreeze()
        assert_same_bits(layer.params, before)
    x = np.ones((T, B, 3), np.float32)
    y, _, pullback = layer.vjp(x)
    optim.SGD(layer.params, lr=0.5).step(pullback(np.ones_like(y)).params)
    assert_array_equal(layer.params["weight"], np.float32(2 - 0.5 * T * B))
    assert pullback_of(layer, x)(y, skip=("weight",)).params == {}
    assert Mean().params == {}
    assert Mean().num_parameters == 0


class Sum(Scale):
    """A layer whose stream adds up what came."""

    def stream(self, batch: int = 1) -> Stream:
        return SumStream(np.zeros((batch, 3), np.float32))


class SumStream(Stream):
    state: Any = None

    def __init__(self, start: Array) -> None:
        self.state, self.batch = start, len(start)

    def step(self, x_t: Array, out: Array | None = None) -> Array:
        self.state = self.state + x_t
        return self.state  # type: ignore[no-any-return]

    def reset(self, rows: Any = None) -> None:
        self.state = np.zeros_like(self.state)

    def reload(self) -> None:
        pass


def test_stream_of_ones_own_inside_a_chain() -> None:
    s, x_t = Sequential(Dropout(), Sum(3)).stream(2), np.ones((2, 3), np.float32)
    assert_array_equal(s.step(x_t), 1)
    s.state = (None, 2 * x_t)
    assert_array_equal(s.step(x_t), 3)
    with pytest.raises(ValueError, match=r"^state\[1\] has shape \(1, 3\), expected \(2, 3\)"):
        s.state = (None, x_t[:1])
    assert_array_equal(s.state[1], 3)


def pullback_of(layer: Layer, x: Array) -> Any:
    return layer.vjp(x)[2]


class Mine(rnnfast.LSTM):
    def __init__(self, n: int) -> None:
        super().__init__(n, n)


class Free(rnnfast.GRU):
    def __init__(self, *sizes: int, **options: Any) -> None:
        super().__init__(*sizes, **options)


class Property(Scale):
    @property
    def dtype_name(self) -> str:
        raise RuntimeError

    def config(self) -> dict[str, Any]:
        return {"name": self.dtype_name}


def test_repr_of_a_subclass_never_raises() -> None:
    assert repr(Mine(3)) == "<Mine>"
    assert repr(Free(3, 4)) == "<Free>"
    assert repr(Property(3)) == "<Property>"
    assert repr(Scale(3)) == "Scale(3)"
    with pytest.raises(AttributeError, match="no attribute 'n'"):
        Mine(3).config()
    with pytest.raises(TypeError, match=r"^x has dtype float64, expected float32"):
        Sequential(Mine(3), Dropout())(np.ones((T, B, 3)))
    assert repr(Sequential(a=Mine(3))) == "Sequential(a=<Mine>)"

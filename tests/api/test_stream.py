"""Streams: the same numbers as the whole sequence, from a snapshot of the weights."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import rnnfast
from layer_problems import B, H, I, T, make_layer_problem
from numpy.testing import assert_allclose, assert_array_equal
from problems import Array
from rnnfast.layers import Layer, Recurrent
from rnnfast.reference import CELLS

every_cell = pytest.mark.parametrize("cell", CELLS)


def tolerance(dtype: str) -> float:
    """A few roundings of values below 1, T steps deep."""
    return 16 * float(np.finfo(dtype).eps) * T


def make_layer(cell: str, dtype: str = "float64") -> Recurrent:
    return Recurrent(cell, I, H, 2, dtype=dtype, rng=1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_cell
def test_is_the_whole_sequence(cell: str, dtype: str) -> None:
    problem = make_layer_problem(make_layer(cell, dtype))
    want, final = problem.layer(problem.x, problem.tree(problem.state))
    s = problem.layer.stream(B)
    s.state = problem.tree(problem.state)
    out = np.empty((B, H), dtype)
    for t, x_t in enumerate(problem.x):
        y_t = s.step(x_t, out if t % 2 else None)
        assert (y_t is out) == (t % 2 == 1)
        assert_allclose(y_t, want[t], rtol=0, atol=tolerance(dtype) * max(1, np.abs(want).max()))
    atol = tolerance(dtype) * max(1, np.abs(np.stack(final)).max())
    assert_allclose(np.stack(s.state), np.stack(final), rtol=0, atol=atol)


@every_cell
def test_starts_from_zero_and_without_a_batch_axis(cell: str) -> None:
    layer = make_layer(cell)
    x = np.random.default_rng(0).standard_normal((T, I))
    want, _ = layer(x)
    s = layer.stream()
    out = np.empty(H)
    for t in range(T):
        y_t = s.step(x[t], out if t % 2 else None)
        assert (y_t is out) == (t % 2 == 1)
        assert_allclose(y_t, want[t], rtol=0, atol=tolerance("float64") * max(1, abs(want).max()))


@every_cell
def test_reset(cell: str) -> None:
    problem = make_layer_problem(make_layer(cell))
    s = problem.layer.stream(B)
    s.state = problem.tree(problem.state)
    s.reset([0, 2])
    want = [part.copy() for part in problem.state]
    for part in want:
        part[:, [0, 2]] = 0
    assert_array_equal(np.stack([s.state]), np.stack([problem.tree(tuple(want))]))
    s.reset()
    assert not np.any(np.stack([s.state]))


@pytest.mark.parametrize("dtype", [bool, np.bool_, "list"])
def test_reset_by_a_mask(dtype: Any) -> None:
    """A mask is no list of the indices 0 and 1, in a chain neither."""
    chain, ids = chain_and_input()
    problem = make_layer_problem(make_layer("lstm"))
    s, c = problem.layer.stream(B), chain.stream(B)
    s.state = problem.state
    for x_t in ids:
        c.step(x_t)
    before = c.state
    mask: Any = [False, True, True, False]
    chosen = mask if dtype == "list" else np.array(mask, dtype)
    s.reset(chosen)
    c.reset(chosen)
    for part, was in (
        *zip(s.state, problem.state, strict=True),
        *zip(c.state[1], before[1], strict=True),
        (c.state[3], before[3]),
    ):
        assert was.all()
        assert not part[:, mask].any()
        assert_array_equal(part[:, [0, 3]], was[:, [0, 3]])
    c.reset([3])
    for part, was in zip(c.state[1], before[1], strict=True):
        assert not part[:, 1:].any()
        assert_array_equal(part[:, 0], was[:, 0])
    c.reset()
    assert not any(part.any() for part in (*c.state[1], c.state[3]))


@every_cell
def test_state_of_a_call_on_one_sequence(cell: str) -> None:
    """A stream goes on from it, and such a call from the stream's."""
    layer = make_layer(cell)
    x = np.random.default_rng(0).standard_normal((T, I))
    want, final = layer(x)
    _, between = layer(x[:2])
    s = layer.stream()
    s.state = between
    atol = tolerance("float64") * max(1, abs(want).max())
    assert_allclose(s.step(x[2]), want[2], rtol=0, atol=atol)
    is_tuple = isinstance(s.state, tuple)
    without = tuple(part[:, 0] for part in s.state) if is_tuple else s.state[:, 0]
    y, end = layer(x[3:], without)
    assert_allclose(y, want[3:], rtol=0, atol=atol)
    assert_allclose(np.stack([end]), np.stack([final]), rtol=0, atol=atol)
    chain = rnnfast.Sequential(rnn=layer, out=rnnfast.Dense(H, 2, dtype="float64", rng=1))
    _, between = chain(x[:2])
    c = chain.stream()
    c.state = between
    assert_allclose(c.step(x[2]), chain(x)[0][2], rtol=0, atol=atol)
    for wrong in (np.zeros((2, H + 1)), np.zeros((3, H)), np.zeros((2, 2, H))):
        with pytest.raises(ValueError, match=r"^state(\[0\])? has shape"):
            s.state = (wrong,) * len(s.state) if is_tuple else wrong
    with pytest.raises(
        ValueError, match=r"^state(\[0\])? has shape \(2, 6\), expected \(2, 4, 6\)"
    ):
        layer.stream(B).state = (np.zeros((2, H)),) * len(s.state) if is_tuple else np.zeros((2, H))


COPIES: dict[str, Any] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda s: pickle.loads(pickle.dumps(s)),
}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("how", COPIES)
def test_copies(how: str, frozen: bool) -> None:
    """A copy has the snapshot, not the layer as it is now, and a state of its own."""
    chain, ids = chain_and_input()
    if frozen:
        chain.freeze()
    s = chain.stream(B)
    s.step(ids[0])
    chain.unfreeze()
    chain["1"].params["weight_hh_l1"][...] *= 2
    chain["4"].params["bias"][...] += 1
    twin = COPIES[how](s)
    assert type(twin) is type(s)
    assert twin.batch == B
    assert repr(twin.state) == repr(s.state)
    want = s.step(ids[1])
    assert_array_equal(twin.step(ids[1]), want)
    after = repr(s.state)
    twin.reset()
    twin.step(ids[2])
    assert repr(s.state) == after
    assert_array_equal(s.step(ids[2]), chain_of(s, ids))
    twin.reload()  # of the layer as it was when it was copied, or is
    twin.state = s.state
    s.reload()
    assert_array_equal(twin.step(ids[3]), s.step(ids[3]))


def chain_of(stream: Any, ids: Array) -> Array:
    """What a stream of the same snapshot gives for the third step."""
    chain, _ = chain_and_input()
    other = chain.stream(B)
    return [other.step(x_t) for x_t in ids[:3]][-1]


def test_a_shallow_copy_reads_the_same_layer() -> None:
    layer = make_layer("lstm")
    x = np.random.default_rng(0).standard_normal((B, I))
    shallow, deep = copy.copy(layer.stream(B)), copy.deepcopy(layer.stream(B))
    before = deep.step(x)
    layer.params["bias_ih_l0"][...] += 1
    for stream in (shallow, deep):
        stream.reload()
        stream.reset()
    assert_array_equal(deep.step(x), before)
    assert not np.array_equal(shallow.step(x), before)


def test_ids_as_ints_and_lists() -> None:
    embedding = rnnfast.Embedding(9, I, rng=1)
    chain = rnnfast.Sequential(embedding, rnnfast.GRU(I, H, rng=2))
    table = embedding.params["weight"]
    one, two = embedding.stream(), embedding.stream(2)
    assert_array_equal(one.step(3), table[3])
    assert_array_equal(one.step([3]), table[[3]])
    assert_array_equal(one.step(np.int32(3)), table[3])
    assert_array_equal(two.step([3, 8]), table[[3, 8]])
    want = chain.stream().step(np.array([3]))
    assert_array_equal(chain.stream().step(3), want[0])
    assert_array_equal(chain.stream().step([3]), want)
    assert_array_equal(chain.stream().step([3], np.empty((1, H), np.float32)), want)


def test_streams_without_a_state_check_their_batch() -> None:
    dense, x = rnnfast.Dense(I, 2, rng=1), np.ones((2, I), np.float32)
    layers: list[tuple[Layer, Any]] = [
        (dense, x), (rnnfast.Embedding(9, 2), [1, 2]), (rnnfast.Dropout(), x),
        (rnnfast.Sequential(dense, rnnfast.Dropout()), x),
    ]  # fmt: skip
    for layer, x_t in layers:
        for batch, kind in ((-5, ValueError), (0, ValueError), (1.5, TypeError)):
            with pytest.raises(kind, match=r"^batch is .*, expected an integer >= 1"):
                layer.stream(batch)  # type: ignore[arg-type]
        s = layer.stream(2)
        s.step(x_t)
        for rows, words in (([2], "^rows has 2, expected 0 <= row < B = 2"), ([-1], "rows has")):
            with pytest.raises(ValueError, match=words):
                s.reset(rows)
        with pytest.raises(ValueError, match=r"^x_t has shape \(2,.*, expected \(B,.* B = 3"):
            layer.stream(3).step(x_t)
        with pytest.raises(ValueError, match=r"^x_t has shape .*, expected \(B,.* with B = 2"):
            s.step(x_t[0])


def test_out_of_a_chain_of_any_size() -> None:
    x_t, out = np.ones((2, I), np.float32), np.empty((2, I), np.float32)
    assert rnnfast.Sequential(rnnfast.Dropout()).stream(2).step(x_t, out) is out
    assert_array_equal(out, x_t)
    assert rnnfast.Sequential(rnnfast.Dropout()).stream().step(x_t[0] + 1, out[0]).shape == (I,)
    assert_array_equal(out[0], 2)
    with pytest.raises(ValueError, match=r"^out has shape \(2, 3\), expected \(2, 4\)"):
        rnnfast.Dense(I, 4).stream(2).step(x_t, out)


def test_state_is_a_copy() -> None:
    problem = make_layer_problem(make_layer("lstm"))
    s = problem.layer.stream(B)
    s.state = problem.state
    assert_array_equal(np.stack(s.state), np.stack(problem.state))
    s.state[0][:] = 7
    problem.state[0][:] = 9
    assert not np.isin(np.stack(s.state), [7.0, 9.0]).any()
    s.state = (None, problem.state[1])
    assert not s.state[0].any()
    assert_array_equal(s.state[1], problem.state[1])
    s.state = None
    assert not np.any(np.stack(s.state))


def test_snapshot_and_reload() -> None:
    layer = make_layer("lstm")
    x = np.random.default_rng(0).standard_normal((2, B, I))
    s, still = layer.stream(B), layer.stream(B)
    first = s.step(x[0])
    assert_array_equal(still.step(x[0]), first)
    layer.params["weight_ih_l1"][:] *= 2
    state = s.state
    s.reload()
    assert_array_equal(np.stack(s.state), np.stack(state))
    want, _ = layer(x[1:], state)
    assert_allclose(s.step(x[1]), want[0], rtol=0, atol=tolerance("float64"))
    assert not np.allclose(still.step(x[1]), want[0], rtol=0, atol=1e-3)


def chain_and_input() -> tuple[rnnfast.Sequential, Array]:
    chain = rnnfast.Sequential(
        rnnfast.Embedding(9, I, rng=1),
        rnnfast.LSTM(I, H, 2, rng=2),
        rnnfast.Dropout(0.5),
        rnnfast.GRU(H, H, rng=3),
        rnnfast.Dense(H, 2, activation="tanh", rng=4),
    )
    return chain, np.random.default_rng(0).integers(0, 9, (T, B))


def test_sequential() -> None:
    chain, ids = chain_and_input()
    want, final = chain(ids)
    s = chain.stream(B)
    out = np.empty((B, 2), np.float32)
    for t in range(T):
        y_t = s.step(ids[t], out if t % 2 else None)
        assert (y_t is out) == (t % 2 == 1)
        assert_allclose(y_t, want[t], rtol=0, atol=tolerance("float32"))
    _, lstm, _, gru, _ = s.state
    assert_allclose(np.stack(lstm), np.stack(final[1]), rtol=0, atol=tolerance("float32"))
    assert_allclose(gru, final[3], rtol=0, atol=tolerance("float32"))
    assert (s.state[0], s.state[2], s.state[4]) == (None, None, None)

    one = chain.stream()
    for t in range(T):
        assert_allclose(one.step(ids[t, 0]), want[t, 0], rtol=0, atol=tolerance("float32"))


def test_sequential_snapshot_and_reset() -> None:
    chain, ids = chain_and_input()
    s = chain.stream(B)
    first = s.step(ids[0])
    chain.params["4.bias"][:] += 1
    s.reset()
    assert_array_equal(s.step(ids[0]), first)
    s.reload()
    s.state = None
    want, _ = chain(ids[:1])
    assert_allclose(s.step(ids[0]), want[0], rtol=0, atol=tolerance("float32"))


def test_bad_input_changes_no_state() -> None:
    layer = make_layer("lstm")
    s = layer.stream(B)
    x = np.random.default_rng(0).standard_normal((B, I))
    s.step(x)
    chain, ids = chain_and_input()
    c = chain.stream(B)
    c.step(ids[0])
    two = rnnfast.GRU(I, I, dtype="float64", rng=1).stream(2)
    read_only = np.empty((B, H))
    read_only.flags.writeable = False
    cases: list[tuple[Any, Any, type[Exception], str]] = [
        (lambda: s.step(x[:, :2]), s, ValueError, r"x_t has shape \(4, 2\), expected \(B, I\)"),
        (lambda: s.step(x[0]), s, ValueError, r"x_t has shape \(3,\), expected \(B, I\)"),
        (lambda: s.step(x.astype("float32")), s, TypeError, "x_t has dtype float32"),
        (lambda: s.step(x.tolist()), s, TypeError, "x_t is a list"),
        (lambda: s.step(x, np.empty((B, 2))), s, ValueError, r"out has shape \(4, 2\)"),
        (lambda: s.step(x, np.empty((B, H), "f")), s, TypeError, "out has dtype float32"),
        (lambda: s.step(x, [0.0]), s, TypeError, "out is a list"),
        (lambda: s.step(x, read_only), s, ValueError, "out is read-only"),
        (lambda: s.reset([B]), s, ValueError, r"rows has 4, expected 0 <= row < B = 4"),
        (lambda: s.reset([0.5]), s, TypeError, "^rows has a float, expected integers, or booleans"),
        (lambda: s.reset([0, True]), s, TypeError, "^rows has a bool, expected integers, or bool"),
        (lambda: s.reset(1), s, TypeError, r"^rows is a int, expected integers, or booleans \(B,"),
        (lambda: s.reset(x), s, TypeError, r"^rows is a ndarray float64 \(4, 3\), expected integ"),
        (lambda: s.reset([True]), s, ValueError, "^rows has 1 booleans, expected integers, or bo"),
        (lambda: s.reset([0, -1]), s, ValueError, "^rows has -1, expected 0 <= row < B = 4"),
        (lambda: c.reset([0, B]), c, ValueError, "^rows has 4, expected 0 <= row < B = 4"),
        (lambda: setattr(s, "state", x), s, TypeError, "state is a ndarray, expected a tuple of 2"),
        (lambda: setattr(s, "state", (x, x)), s, ValueError, r"state\[0\] has shape \(4, 3\)"),
        (lambda: setattr(two, "state", x[:1]), two, ValueError, r"state has shape \(1, 3\), expe"),
        (lambda: c.step(ids[0] + 9), c, ValueError, "x contains the id"),
        (lambda: c.step(ids[0], np.empty((B, 3), "f")), c, ValueError, r"out has shape \(4, 3\)"),
        (lambda: c.step(ids[0], np.empty((B, 2))), c, TypeError, "out has dtype float64"),
        (lambda: setattr(c, "state", (None,)), c, ValueError, "state has 1 parts, expected 5"),
        (
            lambda: setattr(c, "state", (None, None, None, x, None)),
            c, TypeError, r"state\[3\] has dtype float64, expected float32",
        ),
        (
            lambda: setattr(c, "state", (None, None, None, None, x)),
            c, TypeError, r"state\[4\] is a ndarray, expected None",
        ),
    ]  # fmt: skip
    for call, stream, kind, words in cases:
        before = stream.state
        with pytest.raises(kind, match=words):
            call()
        assert repr(stream.state) == repr(before)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_out_without_a_batch_axis(num_layers: int) -> None:
    """An error names the shape that was given."""
    s = rnnfast.GRU(I, H, num_layers, rng=1).stream()
    x_t = np.ones(I, np.float32)
    with pytest.raises(ValueError, match=r"^out has shape \(1, 6\), expected (\(H,\) = )?\(6,\)"):
        s.step(x_t, np.empty((1, H), np.float32))
    with pytest.raises(ValueError, match=r"^x_t has shape \(4,\), expected \(I,\) = \(3,\)"):
        s.step(np.ones(I + 1, np.float32))
    assert not s.state.any()
    out = np.empty(H, np.float32)
    assert s.step(x_t, out) is out
    s.reset()
    assert_array_equal(s.step(x_t[None])[0], out)


def test_refuses() -> None:
    with pytest.raises(ValueError, match="stream needs bidirectional=False"):
        rnnfast.LSTM(I, H, bidirectional=True).stream()
    for batch, kind in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(kind, match="batch is"):
            rnnfast.LSTM(I, H).stream(batch)  # type: ignore[arg-type]

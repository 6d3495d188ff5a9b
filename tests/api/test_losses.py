"""Losses: their values by the formulas, gradients by complex step, masks, stability, bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rnnfast
from layer_problems import B, T
from numpy.testing import assert_allclose, assert_array_equal
from problems import Array, ragged
from rnnfast import losses

O = 3  # noqa: E741
NAMES = ("cross_entropy", "cross_entropy of classes", "mse", "bce")
every_loss = pytest.mark.parametrize("name", NAMES)


def loss_of(name: str) -> Any:
    return getattr(losses, name.removesuffix(" of classes"))


def formula(name: str, z: Array, target: Array, weight: Array) -> Array:
    """The loss (N, O) of logits (N, O), real or complex, for a target of probabilities."""
    if name == "mse":
        return weight * (z - target) ** 2
    if name == "bce":
        s = 1 / (1 + np.exp(-z))
        return -weight * (target * np.log(s) + (1 - target) * np.log(1 - s))
    return -weight * target * (z - np.log(np.exp(z).sum(axis=-1, keepdims=True)))


def make(name: str, leading: tuple[int, ...], seed: int = 0) -> tuple[Array, Array, Array]:
    """Logits, a target of the loss's kind, and the same as probabilities."""
    rng = np.random.default_rng(seed)
    logits, p = rng.standard_normal((*leading, O)), rng.random((*leading, O))
    if name == "cross_entropy of classes":
        classes = rng.integers(0, O, leading)
        return logits, classes, np.eye(O)[classes]
    return logits, p, p


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("leading", [(T, B), (B,)])
@every_loss
def test_value_and_gradient(
    name: str, leading: tuple[int, ...], weighted: bool, reduction: str
) -> None:
    logits, target, p = make(name, leading)
    weight = np.array([0.5, 2.0, 0.0]) if weighted else None
    w = np.ones(O) if weight is None else weight
    loss, d = loss_of(name)(logits, target, weight=weight, reduction=reduction)
    divisor = B if reduction == "mean" else 1
    assert isinstance(loss, float)
    assert loss == pytest.approx(formula(name, logits, p, w).sum() / divisor, rel=1e-14)
    want = np.empty(logits.shape)
    for index in np.ndindex(logits.shape):
        moved = logits.astype(complex)
        moved[index] += 1e-30j
        want[index] = formula(name, moved, p, w).sum().imag / 1e-30 / divisor
    assert_allclose(d, want, rtol=0, atol=1e-15)


@pytest.mark.parametrize("how", ["lengths", "mask", "both"])
@pytest.mark.parametrize("batch_first", [False, True])
@every_loss
def test_what_does_not_count(name: str, batch_first: bool, how: str) -> None:
    """NaN in the logits and nonsense in the target where nothing counts."""
    leading = (B, T) if batch_first else (T, B)
    logits, target, _ = make(name, leading)
    lengths = ragged(T, B)
    inside = np.arange(T)[:, None] < lengths
    keep = np.random.default_rng(3).random((T, B)) < 0.6
    options: dict[str, Any] = {"batch_first": batch_first}
    counts = np.ones((T, B), bool)
    if how in ("lengths", "both"):
        options["lengths"], counts = lengths.tolist(), counts & inside
    if how in ("mask", "both"):
        options["mask"], counts = keep.T if batch_first else keep, counts & keep
    counts = counts.T if batch_first else counts
    logits[~counts] = np.nan
    target[~counts] = -100
    loss, d = loss_of(name)(logits, target, **options)
    rows, d_rows = loss_of(name)(logits[counts], target[counts], reduction="sum")
    assert loss == pytest.approx(rows / B, rel=1e-15)
    assert_allclose(d[counts], d_rows / B, rtol=1e-15)
    assert not d[~counts].any()


@pytest.mark.parametrize("lengths", [None, ragged(T, B)])
@every_loss
def test_float32(name: str, lengths: Array | None) -> None:
    logits, target, _ = make(name, (T, B))
    logits = logits.astype(np.float32)
    narrow = target if target.dtype.kind == "i" else target.astype(np.float32)
    wide = target if target.dtype.kind == "i" else narrow.astype(float)
    want, d_want = loss_of(name)(logits.astype(float), wide, lengths=lengths)
    if lengths is not None:
        logits[np.arange(T)[:, None] >= lengths] = np.nan
    loss, d = loss_of(name)(logits, narrow, lengths=lengths)
    eps = float(np.finfo(np.float32).eps)
    assert d.dtype == np.float32
    assert loss == pytest.approx(want, rel=4 * eps)
    assert_allclose(d, d_want, rtol=0, atol=4 * eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_logits(dtype: str) -> None:
    """Nothing overflows: warnings are errors here."""
    logits = np.array([[1000.0, -1000.0, 0.0], [-1e30, 1e30, 0.0]], dtype)
    loss, d = losses.cross_entropy(logits, np.array([1, 1]), reduction="sum")
    assert loss == 2000.0
    assert_array_equal(d, np.array([[1, -1, 0], [0, 0, 0]], dtype))
    target = np.array([[0, 0, 1], [0, 1, 0]], dtype)
    loss, d = losses.bce(logits, target, reduction="sum")
    assert loss == pytest.approx(1000 + np.log(2) + np.log(2), rel=1e-6)
    assert_array_equal(d, np.array([[1, 0, -0.5], [0, 0, 0.5]], dtype))
    # A class that is ruled out.
    logits = np.array([[-np.inf, 0.0, 0.0]], dtype)
    loss, d = losses.cross_entropy(logits, np.array([[0, 0.5, 0.5]], dtype))
    assert loss == pytest.approx(np.log(2), rel=1e-6)
    assert_array_equal(d, np.zeros((1, 3), dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bce_of_infinities(dtype: str) -> None:
    """The limits, and no warning, which would be an error here."""
    z = np.array([-np.inf, -np.inf, -np.inf, np.inf, np.inf, np.inf], dtype)
    p = np.array([0, 1, 0.25, 1, 0, 0.25], dtype)
    for zk, pk, want in zip(z, p, [0, np.inf, np.inf, 0, np.inf, np.inf], strict=True):
        loss, d = losses.bce(zk.reshape(1, 1), pk.reshape(1, 1))
        assert loss == want
        assert_array_equal(d, np.array([[(zk > 0) - pk]], dtype))
    weight = np.array([1, 0], dtype)  # a weight of 0 drops an infinite term
    assert losses.bce(z[None, :2], p[None, :2], weight=weight)[0] == 0.0
    ruled_out = np.array([[-np.inf, 0.0]], dtype)
    loss, d = losses.cross_entropy(ruled_out, np.array([0]), weight=weight[::-1].copy())
    assert loss == 0.0
    assert not d.any()
    assert np.isnan(losses.bce(np.array([[np.nan]], dtype), np.zeros((1, 1), dtype))[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax(dtype: str) -> None:
    logits = np.random.default_rng(0).standard_normal((T, B, O)).astype(dtype)
    logits[0, 0] = [1000, 1000, -np.inf]
    want = np.exp(logits.astype(float) - logits.max(axis=-1, keepdims=True))
    want /= want.sum(axis=-1, keepdims=True)
    before = logits.copy()
    for got, rows in (
        (losses.softmax(logits), want),
        (losses.softmax(logits.swapaxes(0, 1)), want.swapaxes(0, 1)),
        (losses.softmax(logits[1, 2]), want[1, 2]),
    ):
        assert got.dtype == dtype
        assert_allclose(got, rows, rtol=0, atol=4 * np.finfo(dtype).eps)
    assert_array_equal(losses.softmax(logits)[0, 0], [0.5, 0.5, 0])
    assert_array_equal(logits, before)
    assert losses.softmax(np.zeros((0, 2), dtype)).shape == (0, 2)


def test_probabilities_for_logits() -> None:
    """Softmax twice is a warning where a chain trains; nearly the same numbers are none."""
    x = np.random.default_rng(0).standard_normal((3, 4, 5), np.float32)
    target = np.zeros((3, 4), np.int64)
    model = rnnfast.Sequential(rnnfast.GRU(5, 6, rng=0), rnnfast.Dense(6, 3, activation="softmax"))
    y, _, _ = model.vjp(x)
    with pytest.warns(UserWarning, match="^logits are from 0 to 1 and sum to 1"):
        losses.cross_entropy(y, target)
    losses.cross_entropy(y * np.float32(1.001), target)
    losses.cross_entropy(y - np.float32(0.5), target)
    losses.cross_entropy(np.ones((2, 1), np.float32), np.zeros(2, np.int64))


@every_loss
def test_unbatched(name: str) -> None:
    """Of one sequence the same numbers as of a batch of one."""
    logits, target, _ = make(name, (T, 1))
    mask = np.arange(T) != 1
    for reduction in ("mean", "sum"):
        want, d_want = loss_of(name)(logits, target, mask=mask[:, None], reduction=reduction)
        loss, d = loss_of(name)(
            logits[:, 0], target[:, 0], mask=mask, reduction=reduction, unbatched=True
        )
        assert loss == want
        assert_array_equal(d, d_want[:, 0])
    want, d_want = loss_of(name)(logits[0], target[0])
    loss, d = loss_of(name)(logits[0, 0], target[0, 0], unbatched=True)
    assert loss == want
    assert_array_equal(d, d_want[0])
    # Without the word, two axes are T sequences of one step.
    assert loss_of(name)(logits[:, 0], target[:, 0])[0] == pytest.approx(
        loss_of(name)(logits, target)[0] / T, rel=1e-14
    )


def test_sums_over_time_in_double() -> None:
    y = np.full((1000, 1, 1000), 0.1, np.float32)
    loss, _ = losses.mse(y, np.zeros_like(y))
    assert loss == pytest.approx(1e6 * float(np.square(np.float32(0.1))), rel=1e-12)


@every_loss
def test_empty(name: str) -> None:
    for leading in ((0, B), (T, 0), (0,)):
        logits, target, _ = make(name, leading)
        loss, d = loss_of(name)(logits, target)
        assert loss == 0.0
        assert d.shape == logits.shape
    logits, target, _ = make(name, (T, B))
    loss, d = loss_of(name)(logits, target, lengths=[0] * B)
    assert loss == 0.0
    assert not d.any()


def test_classes_of_every_kind() -> None:
    """Whatever integers, and wherever they lie."""
    logits, classes, _ = make("cross_entropy of classes", (T, B))
    want, d_want = losses.cross_entropy(logits, classes)
    unaligned = np.zeros(classes.nbytes + 1, np.uint8)[1:].view(np.int64).reshape(classes.shape)
    unaligned[...] = classes
    kinds = [classes.astype(kind) for kind in ("i1", "u4", "u8", ">i8", "<i4")]
    for target in (*kinds, np.repeat(classes, 2, axis=1)[:, ::2], unaligned):
        loss, d = losses.cross_entropy(logits, target)
        assert loss == want
        assert_array_equal(d, d_want)
    large = classes.astype(np.uint64)
    large[2, 1] = 2**63  # int64 would take it for a negative number
    with pytest.raises(ValueError, match=r"^target contains 9223372036854775807, expected"):
        losses.cross_entropy(logits, large)


@every_loss
def test_strided_and_unchanged(name: str) -> None:
    logits, target, _ = make(name, (T, B))
    want, d_want = loss_of(name)(logits, target)
    turned = np.ascontiguousarray(logits.swapaxes(0, 1)).swapaxes(0, 1)
    turned.flags.writeable = False
    loss, d = loss_of(name)(turned, target[:, ::-1][:, ::-1])
    assert loss == want
    assert_array_equal(d, d_want)


z, p, c = np.zeros((T, B, O)), np.full((T, B, O), 0.5), np.zeros((T, B), int)
CASES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: losses.bce(z.tolist(), p), TypeError, "logits is a list, expected an ndarray"),
    (lambda: losses.mse(z.tolist(), p), TypeError, "y is a list, expected an ndarray"),
    (
        lambda: losses.bce(z.astype("float16"), p), TypeError,
        "logits has dtype float16, expected float32 or float64",
    ),
    (
        lambda: losses.bce(z.astype(int), p), TypeError,
        "logits has dtype int64, expected float32 or float64",
    ),
    (
        lambda: losses.mse(z.astype(">f8"), p), TypeError,
        "y has dtype >f8, expected float32 or float64",
    ),
    (
        lambda: losses.bce(z[0, 0], p), ValueError,
        r"logits has shape \(3,\), expected \(T, B, O\) or",
    ),
    (
        lambda: losses.bce(z[None], p, batch_first=True), ValueError,
        r"logits has shape .*, expected \(B, T, O\) or \(B, O\)",
    ),
    (
        lambda: losses.mse(z[..., :0], p), ValueError,
        r"y has shape \(5, 4, 0\), expected .* with O >= 1",
    ),
    (
        lambda: losses.mse(z, p[1:]), ValueError,
        r"target has shape \(4, 4, 3\), expected \(5, 4, 3\)",
    ),
    (lambda: losses.mse(z, p.astype("f")), TypeError, "target has dtype float32, expected float64"),
    (lambda: losses.mse(z, p.tolist()), TypeError, "target is a list, expected a float64 ndarray"),
    (lambda: losses.bce(z, p + 1), ValueError, "target contains 1.5, expected 0 <= target <= 1"),
    (
        lambda: losses.bce(z, p * np.nan), ValueError,
        "target contains nan, expected 0 <= target <= 1",
    ),
    (
        lambda: losses.cross_entropy(z, c[1:]), ValueError,
        r"target has shape \(4, 4\), expected \(5, 4\)",
    ),
    (
        lambda: losses.cross_entropy(z, c + 3), ValueError,
        "target contains 3, expected 0 <= class < O = 3",
    ),
    (
        lambda: losses.cross_entropy(z, c - 1), ValueError,
        "target contains -1, expected 0 <= class < O = 3",
    ),
    (lambda: losses.cross_entropy(z, c == 0), TypeError, "target has dtype bool, expected float64"),
    (lambda: losses.mse(z, p, mask=c), TypeError, "mask has dtype int64, expected bool"),
    (
        lambda: losses.mse(z, p, mask=c[0] == 0), ValueError,
        r"mask has shape \(4,\), expected \(5, 4\)",
    ),
    (
        lambda: losses.mse(z, p, lengths=[1] * 5), ValueError,
        "lengths has 5 entries, expected B = 4",
    ),
    (
        lambda: losses.mse(z, p, lengths=[9] * 4), ValueError,
        r"lengths\[0\] is 9, expected 0 <= length <= T = 5",
    ),
    (
        lambda: losses.mse(z[0], p[0], lengths=[1] * 4), ValueError,
        "lengths is not allowed with the leading",
    ),
    (
        lambda: losses.mse(z, p, lengths=np.array([5, -1, 5, 5])), ValueError,
        r"lengths\[1\] is -1, expected 0 <= length <= T = 5",
    ),
    (
        lambda: losses.mse(z, p, lengths=np.array([0, 0, 2**63, 0], np.uint64)), ValueError,
        r"lengths\[2\] is 9223372036854775808, expected 0 <= length <= T = 5",
    ),
    (
        lambda: losses.mse(z, p, unbatched=True), ValueError,
        r"y has shape \(5, 4, 3\), expected \(T, O\) or \(O,\) as it is unbatched",
    ),
    (
        lambda: losses.bce(z[0], p[0], lengths=[4], unbatched=True), ValueError,
        "lengths is not allowed with unbatched=True, expected None",
    ),
    (
        lambda: losses.mse(z, p, unbatched=1), TypeError,
        "unbatched is 1, expected True or False",
    ),
    (
        lambda: losses.mse(z, p, batch_first="no"), TypeError,
        "batch_first is 'no', expected True or False",
    ),
    (lambda: losses.softmax([1.0]), TypeError, "logits is a list, expected an ndarray of float32"),
    (
        lambda: losses.softmax(z[..., :0]), ValueError,
        r"logits has shape \(5, 4, 0\), expected \(..., O\) with O >= 1",
    ),
    (
        lambda: losses.softmax(np.array(1.0)), ValueError,
        r"logits has shape \(\), expected \(..., O\) with O >= 1",
    ),
    (
        lambda: losses.mse(z, p, weight=z), ValueError,
        r"weight has shape \(5, 4, 3\), expected \(O,\) = \(3,\)",
    ),
    (
        lambda: losses.mse(z, p, weight=z[0, 0].astype("f")), TypeError,
        "weight has dtype float32, expected float64",
    ),
    (lambda: losses.mse(z, p, weight=[1.0] * 3), TypeError, "weight is a list, expected a float64"),
    (
        lambda: losses.mse(z, p, reduction="none"), ValueError,
        "reduction is 'none', expected one of mean, sum",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "words"), CASES)
def test_bad_input(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=f"^{words}"):
        call()
    assert not z.any()
    assert not c.any()


@pytest.mark.parametrize("name", ["cross_entropy", "bce", "mse"])
@pytest.mark.parametrize(
    ("weight", "kind", "words"),
    [
        ([1.0] * O, TypeError, r"^weight is a list, expected a float64 ndarray"),
        (np.ones(O, "f"), TypeError, r"^weight has dtype float32, expected float64"),
        (
            np.ones(O + 1),
            ValueError,
            rf"^weight has shape \({O + 1},\), expected \(O,\) = \({O},\)",
        ),
    ],
)
def test_bad_weights(name: str, weight: Any, kind: type[Exception], words: str) -> None:
    logits, target = np.ones((2, 2, O)), np.full((2, 2, O), 0.5)
    with pytest.raises(kind, match=words):
        loss_of(name)(logits, target, weight=weight)


@pytest.mark.parametrize("name", ["cross_entropy", "bce", "mse"])
def test_gradients_lie_as_a_layer_s_output(name: str) -> None:
    """So that the layer that takes them back need not copy them."""
    logits = np.asfortranarray(np.ones((4, 2, O)))
    for reduction in ("mean", "sum"):
        assert loss_of(name)(logits, logits / 3, reduction=reduction)[1].flags.c_contiguous

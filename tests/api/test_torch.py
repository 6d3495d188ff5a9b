"""Layers, losses and optimisers against PyTorch, where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rnnfast
from layer_problems import MODES, STACKS, B, H, I, LayerProblem, T, make_layer_problem
from numpy.testing import assert_allclose
from problems import Array, assert_close
from rnnfast import losses, optim

torch: Any = pytest.importorskip("torch", reason="oracle: torch is not installed")
torch.set_num_threads(1)  # the problems are tiny, and its threads would wait for each other

KINDS = {
    "RNN": (rnnfast.RNN, {}),
    "RNN relu": (rnnfast.RNN, {"activation": "relu"}),
    "LSTM": (rnnfast.LSTM, {}),
    "GRU": (rnnfast.GRU, {}),
}
RAGGED = np.array([5, 1, 4, 2])  # PyTorch refuses lengths of 0


def torch_results(problem: LayerProblem, kind: str) -> dict[str, Array]:
    """Everything that LayerProblem.vjp returns, from torch.nn, ragged ones as packed sequences."""
    layer, lengths = problem.layer, problem.lengths
    options = {
        "num_layers": layer.num_layers, "bias": layer.bias, "batch_first": layer.batch_first,
        "bidirectional": layer.bidirectional, "dtype": torch.float64,
    }  # fmt: skip
    if kind == "RNN relu":
        options["nonlinearity"] = "relu"
    module = getattr(torch.nn, kind.split()[0])(I, H, **options)
    weights = {name: torch.tensor(p) for name, p in layer.params.items()}
    module.load_state_dict(weights, strict=True)

    x, *state = (torch.tensor(a, requires_grad=True) for a in (problem.x, *problem.state))
    given: Any = tuple(state) if len(state) > 1 else state[0]
    if lengths is None:
        y, final = module(x, given)
    else:
        rnn = torch.nn.utils.rnn
        packed = rnn.pack_padded_sequence(x, lengths, layer.batch_first, enforce_sorted=False)
        y, final = module(packed, given)
        y, _ = rnn.pad_packed_sequence(y, layer.batch_first, total_length=T)
    finals = final if len(state) > 1 else (final,)
    if not problem.return_sequence:
        y = torch.cat(tuple(finals[0][-layer.directions :]), dim=-1)
    dy = torch.tensor(problem.dy).nan_to_num()
    loss = (y * dy).sum()
    for part, dpart in zip(finals, problem.dstate, strict=True):
        loss = loss + (part * torch.tensor(dpart)).sum()
    loss.backward()
    results = {"y": y, "dx": x.grad}
    results |= {f"state[{i}]": part for i, part in enumerate(finals)}
    results |= {f"dstate[{i}]": part.grad for i, part in enumerate(state)}
    results |= {f"d{name}": p.grad for name, p in module.named_parameters()}
    return {name: value.detach().numpy() for name, value in results.items()}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("kind", KINDS)
def test_recurrent(kind: str, stack: str, mode: str) -> None:
    cls, options = KINDS[kind]
    layer = cls(I, H, **STACKS[stack], **options, dtype="float64", rng=2)
    problem = make_layer_problem(layer, mode)
    if problem.lengths is not None:
        problem.lengths[:] = RAGGED
        problem.x[np.isnan(problem.x)] = 1.0
        problem.dy[np.isnan(problem.dy)] = 1.0
    if problem.lengths is not None and problem.return_sequence:
        padding = np.arange(T)[:, None] >= RAGGED
        problem.dy[padding.T if layer.batch_first else padding] = 0.0
    assert_close(problem.vjp(), torch_results(problem, kind), 1e-13)


def test_dense() -> None:
    rng = np.random.default_rng(0)
    activations = {
        "identity": lambda z: z, "tanh": torch.tanh, "relu": torch.relu,
        "sigmoid": torch.sigmoid, "softmax": lambda z: torch.softmax(z, -1),
    }  # fmt: skip
    for name, g2 in activations.items():
        dense = rnnfast.Dense(H, 3, activation=name, dtype="float64", rng=1)
        module = torch.nn.Linear(H, 3, dtype=torch.float64)
        module.load_state_dict({k: torch.tensor(p) for k, p in dense.params.items()})
        x, dy = rng.standard_normal((T, B, H)), rng.standard_normal((T, B, 3))
        x_torch = torch.tensor(x, requires_grad=True)
        y_torch = g2(module(x_torch))
        y_torch.backward(torch.tensor(dy))
        y, _, pullback = dense.vjp(x, need_x=True)
        dx, _, grads = pullback(dy)
        assert_allclose(y, y_torch.detach(), rtol=0, atol=1e-14)
        assert_allclose(dx, x_torch.grad, rtol=0, atol=1e-14)
        assert_allclose(grads["weight"], module.weight.grad, rtol=0, atol=1e-13)
        assert_allclose(grads["bias"], module.bias.grad, rtol=0, atol=1e-13)


def test_embedding() -> None:
    rng = np.random.default_rng(0)
    embedding = rnnfast.Embedding(7, 3, dtype="float64", rng=1)
    weight = torch.tensor(embedding.params["weight"], requires_grad=True)
    ids, dy = rng.integers(0, 7, (T, B)), rng.standard_normal((T, B, 3))
    y_torch = torch.nn.functional.embedding(torch.tensor(ids), weight)
    y_torch.backward(torch.tensor(dy))
    y, _, pullback = embedding.vjp(ids)
    np.testing.assert_array_equal(y, y_torch.detach())
    assert_allclose(pullback(dy).params["weight"], weight.grad, rtol=0, atol=1e-14)


F = torch.nn.functional
LOSSES = {
    "cross_entropy": (losses.cross_entropy, F.cross_entropy),
    "mse": (losses.mse, F.mse_loss),
    "bce": (losses.bce, F.binary_cross_entropy_with_logits),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", [*LOSSES, "cross_entropy of classes"])
def test_losses(name: str, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    ours, theirs = LOSSES[name.removesuffix(" of classes")]
    logits = 3 * rng.standard_normal((T, B, 5))
    target = rng.random((T, B, 5))
    weight = rng.random(5) if weighted else None
    if name == "cross_entropy":
        target /= target.sum(axis=-1, keepdims=True)
    elif name == "cross_entropy of classes":
        target = rng.integers(0, 5, (T, B))
    flat = torch.tensor(logits.reshape(-1, 5), requires_grad=True)
    target_torch = torch.tensor(target.reshape(T * B, -1)).squeeze(-1)
    options = {} if weight is None else {"weight": torch.tensor(weight)}
    if weight is not None and name == "mse":
        options["weight"] = options["weight"].expand(T * B, 5)
    want = theirs(flat, target_torch, reduction="sum", **options)
    want.backward()
    loss, dlogits = ours(logits, target, weight=weight, reduction="sum")
    assert loss == pytest.approx(want.item(), rel=1e-14)
    assert_allclose(dlogits.reshape(-1, 5), flat.grad, rtol=0, atol=1e-14)


OPTIMISERS = {
    "SGD": (optim.SGD, torch.optim.SGD, {}),
    "SGD momentum": (optim.SGD, torch.optim.SGD, {"momentum": 0.9}),
    "Adam": (optim.Adam, torch.optim.Adam, {}),
    "RMSprop": (optim.RMSprop, torch.optim.RMSprop, {"alpha": 0.9}),
}


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers(name: str, dtype: str, weight_decay: float) -> None:
    rng = np.random.default_rng(0)
    ours, theirs, options = OPTIMISERS[name]
    shapes = {"weight": (7, 5), "bias": (33,), "scalar": ()}
    params = {k: rng.standard_normal(s).astype(dtype).reshape(s) for k, s in shapes.items()}
    tensors = [torch.tensor(p, requires_grad=True) for p in params.values()]
    ours = ours(params, lr=0.05, weight_decay=weight_decay, **options)
    theirs = theirs(tensors, lr=0.05, weight_decay=weight_decay, **options)
    for step in range(5):
        grads = {k: rng.standard_normal(s).astype(dtype).reshape(s) for k, s in shapes.items()}
        for tensor, grad in zip(tensors, grads.values(), strict=True):
            tensor.grad = torch.tensor(grad)
        if step == 3:  # a schedule
            ours.lr = 0.01
            theirs.param_groups[0]["lr"] = 0.01
        ours.step(grads)
        theirs.step()
    eps = np.finfo(dtype).eps
    for p, tensor in zip(params.values(), tensors, strict=True):
        assert_allclose(p, tensor.detach(), rtol=0, atol=5 * 8 * eps)  # 8 roundings a step


def test_clip_by_norm() -> None:
    rng = np.random.default_rng(0)
    grads = {name: rng.standard_normal((4, 5)) for name in "ab"}
    tensors = [torch.zeros(4, 5, dtype=torch.float64, requires_grad=True) for _ in grads]
    for tensor, grad in zip(tensors, grads.values(), strict=True):
        tensor.grad = torch.tensor(grad)
    want = torch.nn.utils.clip_grad_norm_(tensors, 0.7)
    assert optim.clip_by_norm(grads, 0.7) == pytest.approx(want.item(), rel=1e-14)
    for tensor, grad in zip(tensors, grads.values(), strict=True):
        # PyTorch adds 1e-6 to the norm before it divides by it.
        assert_allclose(grad, tensor.grad * (1 + 1e-6 / want.item()), rtol=1e-11)

"""PyTorch: torch.nn's layers, packed sequences, and its cells for single steps."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from rnnfast._check import Array

from ..cases import FORWARD, LEARNING_RATE, MAX_NORM, Case, Data
from . import Program, Unavailable, named

torch: Any = import_module("torch")
rnn: Any = import_module("torch.nn.utils.rnn")

_MODULES: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn_tanh": ("RNN", {"nonlinearity": "tanh"}),
    "rnn_relu": ("RNN", {"nonlinearity": "relu"}),
    "lstm": ("LSTM", {}),
    "gru_after": ("GRU", {}),
}


def build(case: Case, data: Data, threads: int) -> Program:
    """Make a torch.nn module ready."""
    if case.cell not in _MODULES:
        raise Unavailable("torch.nn has no such cell")
    torch.set_num_threads(threads)
    if case.kind == "stream":
        return _stream(case, data)
    if case.kind == "model":
        return _model(case, data)
    if case.mode == FORWARD:
        return _inference(case, data)
    return _training(case, data)


def _module(case: Case, data: Data) -> Any:
    name, options = _MODULES[case.cell]
    module = getattr(torch.nn, name)(
        case.I,
        case.H,
        case.layers,
        bidirectional=case.directions == 2,
        dtype=getattr(torch, case.dtype),
        **options,
    )
    module.load_state_dict({name: torch.tensor(data.params[name]) for name in module.state_dict()})
    return module


def _state(parts: tuple[Any, ...]) -> Any:
    return parts if len(parts) > 1 else parts[0]


def _tuple(state: Any) -> tuple[Any, ...]:
    return state if isinstance(state, tuple) else (state,)


def _array(tensor: Any) -> Array:
    array: Array = tensor.detach().numpy()
    return array


def _arrays(tensors: Any) -> tuple[Array, ...]:
    return tuple(map(_array, tensors))


def _run(case: Case, data: Data, module: Any) -> Any:
    """Return the function of (x, state) that gives y and the final state."""
    if data.lengths is None:
        return module
    lengths = torch.tensor(data.lengths)

    def packed(x: Any, state: Any) -> tuple[Any, Any]:
        y, end = module(rnn.pack_padded_sequence(x, lengths, enforce_sorted=False), state)
        return rnn.pad_packed_sequence(y, total_length=case.T)[0], end

    return packed


def _inference(case: Case, data: Data) -> Program:
    run = _run(case, data, _module(case, data).eval())
    x, state = torch.tensor(data.x), _state(tuple(map(torch.tensor, data.state)))

    def call() -> Any:
        with torch.inference_mode():
            return run(x, state)

    return Program(call, lambda result: named(_array(result[0]), _arrays(_tuple(result[1]))))


def _training(case: Case, data: Data) -> Program:
    module = _module(case, data)
    run = _run(case, data, module)
    x = torch.tensor(data.x, requires_grad=True)
    parts = tuple(torch.tensor(part, requires_grad=True) for part in data.state)
    names = [name for name, _ in module.named_parameters()]
    leaves = [x, *parts, *module.parameters()]
    dy = torch.tensor(data.dy)

    def call() -> Any:
        y, end = run(x, _state(parts))
        return y, end, torch.autograd.grad(y, leaves, dy)

    def results(result: Any) -> dict[str, Array]:
        y, end, grads = result
        dx, *others = _arrays(grads)
        n = len(parts)
        dparams = dict(zip(names, others[n:], strict=True))
        return named(_array(y), _arrays(_tuple(end)), dx, tuple(others[:n]), dparams)

    return Program(call, results)


def _stream(case: Case, data: Data) -> Program:
    """Single steps with torch.nn's cells, which are faster at that than its layers."""
    name, options = _MODULES[case.cell]
    cell = getattr(torch.nn, name + "Cell")(case.I, case.H, dtype=torch.float32, **options).eval()
    cell.load_state_dict(
        {name: torch.tensor(data.params[name + "_l0"]) for name in cell.state_dict()}
    )
    x_t = torch.tensor(data.x[0])
    state = _state(tuple(torch.tensor(part[0]) for part in data.state))

    def call() -> Any:
        nonlocal state
        with torch.inference_mode():
            state = cell(x_t, state)
        return state

    def results(state: Any) -> dict[str, Array]:
        parts = tuple(part[None] for part in _arrays(_tuple(state)))
        return named(parts[0], parts)

    return Program(call, results)


def _model(case: Case, data: Data) -> Program:
    module = _module(case, data)
    dense = torch.nn.Linear(case.H, case.classes, dtype=module.weight_ih_l0.dtype)
    dense.load_state_dict({name: torch.tensor(data.params[name]) for name in ("weight", "bias")})
    params, embedding = [*module.parameters(), *dense.parameters()], None
    if case.vocabulary:
        weight = torch.tensor(data.params["embedding"])
        embedding = torch.nn.Embedding.from_pretrained(weight, freeze=False)
        params += embedding.parameters()
    adam = torch.optim.Adam(params, lr=LEARNING_RATE)
    x, target = torch.tensor(data.x), torch.tensor(data.target).flatten()
    state = _state(tuple(map(torch.tensor, data.state)))

    def call() -> tuple[float, float]:
        adam.zero_grad()
        y, _ = module(x if embedding is None else embedding(x), state)
        logits = dense(y).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, target, reduction="sum") / case.B
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(params, MAX_NORM)
        adam.step()
        return loss, norm

    return Program(call, lambda result: dict(zip(("loss", "norm"), _arrays(result), strict=True)))

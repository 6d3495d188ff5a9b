"""ONNX Runtime: a model of one node a layer; it runs forwards only."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from rnnfast._check import Array
from rnnfast.gates import permute

from ..cases import FORWARD, Case, Data
from . import Program, Unavailable, named

onnx: Any = import_module("onnx")
runtime: Any = import_module("onnxruntime")

OPSET, IR_VERSION = 14, 8

_NODES: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn_tanh": ("RNN", {}),
    "rnn_relu": ("RNN", {"activations": ["Relu"]}),
    "rnn_sigmoid": ("RNN", {"activations": ["Sigmoid"]}),
    "rnn_identity": (
        "RNN",
        {"activations": ["Affine"], "activation_alpha": [1.0], "activation_beta": [0.0]},
    ),
    "lstm": ("LSTM", {}),
    "lstm_peephole": ("LSTM", {}),
    "gru_after": ("GRU", {"linear_before_reset": 1}),
    "gru_before": ("GRU", {"linear_before_reset": 0}),
}


def build(case: Case, data: Data, threads: int) -> Program:
    """Make a session ready, whose model holds the weights."""
    if case.mode != FORWARD:
        raise Unavailable("onnxruntime has no training")
    if case.cell not in _NODES:
        raise Unavailable("ONNX has no such cell")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # an error is raised anyway
    session = runtime.InferenceSession(
        _Model(case, data).model().SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )
    return _stream(case, data, session) if case.kind == "stream" else _run(case, data, session)


def _feeds(data: Data, state: tuple[Array, ...]) -> dict[str, Array]:
    feeds = {"X": data.x} | dict(zip(("initial_h", "initial_c"), state, strict=False))
    if data.lengths is not None:
        feeds["sequence_lens"] = data.lengths.astype(np.int32)
    return feeds


def _run(case: Case, data: Data, session: Any) -> Program:
    feeds = _feeds(data, data.state)
    n = len(data.state)

    def results(outputs: Any) -> dict[str, Array]:
        y, *ends = outputs
        # One final state a layer and kind, layer after layer.
        return named(y, tuple(np.concatenate(ends[i::n]) for i in range(n)))

    return Program(lambda: session.run(None, feeds), results)


def _stream(case: Case, data: Data, session: Any) -> Program:
    feeds = _feeds(data, data.state)
    names = [name for name in ("initial_h", "initial_c") if name in feeds]

    def call() -> Any:
        outputs = session.run(None, feeds)
        feeds.update(zip(names, outputs[1:], strict=True))
        return outputs

    return Program(call, lambda outputs: named(outputs[0], tuple(outputs[1:])))


class _Model:
    """The graph: y (T, B, D*H), then the final states (D, B, H) of each layer."""

    def __init__(self, case: Case, data: Data) -> None:
        self.case, self.data = case, data
        self.operator, self.attributes = _NODES[case.cell]
        self.states = len(data.state)
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.ends: list[str] = []

    def model(self) -> Any:
        """Return the whole model."""
        value = onnx.helper.make_tensor_value_info
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(self.case.dtype))
        feeds = _feeds(self.data, self.data.state)
        x = "X"
        for layer in range(self.case.layers):
            x = self._layer(layer, x)
        kinds = {"sequence_lens": onnx.TensorProto.INT32}
        graph = onnx.helper.make_graph(
            self.nodes,
            "layers",
            [value(name, kinds.get(name, kind), feed.shape) for name, feed in feeds.items()],
            [value(name, kind, None) for name in (x, *self.ends)],
            [onnx.numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        opset = onnx.helper.make_opsetid("", OPSET)
        return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)

    def _layer(self, layer: int, x: str) -> str:
        """Add the nodes of a layer that reads `x`; return the name of its y (T, B, D*H)."""
        directions = self.case.directions
        states = ["initial_h", "initial_c"][: self.states]
        inputs = [x, *self._weights(layer), "sequence_lens" if self._ragged else ""]
        if self.case.layers == 1:
            inputs += states
        else:
            inputs += [self._slice(state, layer) for state in states]
        if "peephole" in self.case.cell:
            inputs += [self._peephole(layer)]
        ends = [f"{name}_l{layer}" for name in ("Y_h", "Y_c")[: self.states]]
        self._add(
            self.operator,
            inputs,
            [f"Y_l{layer}", *ends],
            hidden_size=self.case.H,
            direction="bidirectional" if directions == 2 else "forward",
            **self.attributes,
        )
        self.ends += ends
        return self._join_directions(f"Y_l{layer}")

    @property
    def _ragged(self) -> bool:
        return self.data.lengths is not None

    def _weights(self, layer: int) -> list[str]:
        """Add W, R and B (D, ...) of a layer, and return their names."""

        def theirs(stem: str) -> Array:
            cell = self.operator.lower()
            blocks = [
                permute(self.data.params[stem + suffix], cell, source="rnnfast", target="onnx")
                for suffix in self._suffixes(layer)
            ]
            return np.stack(blocks)

        names = [f"{name}_l{layer}" for name in "WRB"]
        biases = np.concatenate([theirs("bias_ih"), theirs("bias_hh")], axis=1)
        arrays = (theirs("weight_ih"), theirs("weight_hh"), biases)
        self.constants |= dict(zip(names, arrays, strict=True))
        return names

    def _peephole(self, layer: int) -> str:
        name = f"P_l{layer}"
        arrays = [self.data.params[f"weight_peephole{s}"] for s in self._suffixes(layer)]
        self.constants[name] = np.stack(
            [permute(p, "peephole", source="rnnfast", target="onnx").ravel() for p in arrays]
        )
        return name

    def _suffixes(self, layer: int) -> tuple[str, ...]:
        D = self.case.directions
        return self.case.suffixes[layer * D : (layer + 1) * D]

    def _slice(self, state: str, layer: int) -> str:
        """Add the initial state of one layer of several."""
        D = self.case.directions
        bounds = []
        for bound, value in (("start", layer * D), ("end", (layer + 1) * D)):
            bounds.append(f"{bound}_l{layer}")
            self.constants[bounds[-1]] = np.asarray([value])
        self._add("Slice", [state, *bounds], [f"{state}_l{layer}"])
        return f"{state}_l{layer}"

    def _join_directions(self, y: str) -> str:
        """Add the way from (T, D, B, H) to (T, B, D*H)."""
        T, B, _, H = self.case.sizes
        if self.case.directions > 1:
            self._add("Transpose", [y], [f"{y}_t"], perm=[0, 2, 1, 3])
            y = f"{y}_t"
        self.constants["shape"] = np.asarray([T, B, self.case.directions * H])
        self._add("Reshape", [y, "shape"], [f"{y}_r"])
        return f"{y}_r"

    def _add(self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        self.nodes.append(onnx.helper.make_node(operator, inputs, outputs, **attributes))

"""The reference's forward against ONNX Runtime, in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problems import Array, Problem, assert_close, make
from rnnfast import reference

onnx = pytest.importorskip("onnx", reason="oracle: onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="oracle: onnxruntime is not installed")

# Of each variant: ONNX's operator, its attributes, and where it has our gates.
OPERATORS: dict[str, tuple[str, dict[str, Any], list[int]]] = {
    "rnn_tanh": ("RNN", {"activations": ["Tanh"]}, [0]),
    "rnn_relu": ("RNN", {"activations": ["Relu"]}, [0]),
    "rnn_sigmoid": ("RNN", {"activations": ["Sigmoid"]}, [0]),
    "rnn_identity": (
        "RNN",
        {"activations": ["Affine"], "activation_alpha": [1.0], "activation_beta": [0.0]},
        [0],
    ),
    "lstm": ("LSTM", {}, [0, 3, 1, 2]),  # i o f c
    "lstm_peephole": ("LSTM", {}, [0, 3, 1, 2]),
    "gru_after": ("GRU", {"linear_before_reset": 1}, [1, 0, 2]),  # z r h
    "gru_before": ("GRU", {"linear_before_reset": 0}, [1, 0, 2]),
}


def onnx_results(problem: Problem) -> dict[str, Array]:
    """What Problem.run returns, from a model of one node."""
    operator, attributes, order = OPERATORS[problem.cell]
    H = problem.W_aa.shape[1]

    def theirs(rows: Array) -> Array:
        """Our rows, gates permuted to ONNX's order."""
        return rows.reshape(-1, H, *rows.shape[1:])[order].reshape(rows.shape)

    assert problem.b_a is not None
    assert problem.b_aa is not None
    assert problem.a0 is not None
    feeds = {
        "X": problem.x,
        "W": theirs(problem.W_ax)[None],
        "R": theirs(problem.W_aa)[None],
        "B": np.concatenate([theirs(problem.b_a), theirs(problem.b_aa)])[None],
        "sequence_lens": np.asarray(problem.lengths, np.int32),
        "initial_h": problem.a0[None],
    }
    outputs = ["Y", "Y_h"]
    if problem.c0 is not None:
        feeds["initial_c"] = problem.c0[None]
        outputs.append("Y_c")
    if problem.peephole is not None:
        feeds["P"] = problem.peephole[[0, 2, 1]].reshape(1, -1)  # i o f
    node = onnx.helper.make_node(
        operator,
        list(feeds),
        outputs,
        hidden_size=H,
        direction="reverse" if problem.reverse else "forward",
        **attributes,
    )
    value = onnx.helper.make_tensor_value_info
    kinds = {key: onnx.helper.np_dtype_to_tensor_dtype(v.dtype) for key, v in feeds.items()}
    graph = onnx.helper.make_graph(
        [node],
        "one layer",
        [value(key, kinds[key], v.shape) for key, v in feeds.items()],
        [value(key, kinds["X"], None) for key in outputs],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8
    )
    session = runtime.InferenceSession(model.SerializeToString())
    Y, *finals = session.run(outputs, feeds)
    return {"a": Y[:, 0]} | {
        key: final[0] for key, final in zip(("a_T", "c_T"), finals, strict=False)
    }


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", OPERATORS)
def test_forward(cell: str, reverse: bool) -> None:
    # No length 0: ONNX Runtime then gives a final state of zeros, we the initial one.
    problem = make(cell, T=5, B=4, I=3, H=4, dtype="float32", lengths=[2, 5, 1, 4], reverse=reverse)
    problem = problem.with_(x=np.nan_to_num(problem.x))
    T, I, H = 5, 3, 4  # noqa: E741
    bound = 4 * float(np.finfo(np.float32).eps) * np.sqrt(I + H) * T
    assert_close(onnx_results(problem), problem.astype("float64").run(reference), bound)

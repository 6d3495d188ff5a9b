"""The gated recurrent unit, gates r z n; the reset gate acts after or before the product.

    r = sigmoid(x_r + r_r)        z = sigmoid(x_z + r_z)        a = (1 - z) n + z a_prev
    after:   n = tanh(x_n + r (W_aa,n a_prev + b_aa,n))
    before:  n = tanh(x_n + W_aa,n (r a_prev) + b_aa,n)

Source: K. Cho et al., Learning phrase representations using RNN encoder-decoder for statistical
machine translation, EMNLP 2014 (reset before; after is the form that needs one product a step).
"""

from ..._check import Array
from ..activations import sigmoid, tanh
from ..cell import Arrays, Cell, Deltas, Made, Stage, register


def _after(x: Array, r: Array, prev: Arrays, saved: Arrays, p: Array | None) -> Made:
    (a_prev,) = prev
    reset, z = sigmoid(x[0] + r[0]), sigmoid(x[1] + r[1])
    n = tanh(x[2] + reset * r[2])
    a = (1 - z) * n + z * a_prev
    return Made((a,), saved=(reset, z, n, r[2]))


def _after_backward(
    saved: Arrays, prev: Arrays, dstate: Arrays, dq: Array | None, p: Array | None
) -> Deltas:
    (reset, z, n, r_n), (a_prev,), (da,) = saved, prev, dstate
    ds_n = da * (1 - z) * (1 - n * n)  # a = (1 - z) n + z a_prev
    ds_z = da * (a_prev - n) * z * (1 - z)
    ds_r = ds_n * r_n * reset * (1 - reset)  # s_n = x_n + r r_n
    return Deltas(dx=(ds_r, ds_z, ds_n), dr=(ds_r, ds_z, ds_n * reset), dprev=(da * z,))


def _before_reset(x: Array, r: Array, prev: Arrays, saved: Arrays, p: Array | None) -> Made:
    (a_prev,) = prev
    reset, z = sigmoid(x[0] + r[0]), sigmoid(x[1] + r[1])
    return Made((reset * a_prev,), saved=(reset, z))


def _before_new(x: Array, r: Array, prev: Arrays, saved: Arrays, p: Array | None) -> Made:
    (a_prev,), (reset, z) = prev, saved
    n = tanh(x[0] + r[0])
    a = (1 - z) * n + z * a_prev
    return Made((a,), saved=(reset, z, n))


def _before_new_backward(
    saved: Arrays, prev: Arrays, dstate: Arrays, dq: Array | None, p: Array | None
) -> Deltas:
    (_, z, n), (da,) = saved, dstate
    ds_n = da * (1 - z) * (1 - n * n)  # a = (1 - z) n + z a_prev
    return Deltas(dx=(ds_n,), dr=(ds_n,), dprev=(da * z,))


def _before_reset_backward(
    saved: Arrays, prev: Arrays, dstate: Arrays, dq: Array | None, p: Array | None
) -> Deltas:
    assert dq is not None
    (reset, z, n), (a_prev,), (da,) = saved, prev, dstate
    ds_r = dq * a_prev * reset * (1 - reset)  # q = r a_prev
    ds_z = da * (a_prev - n) * z * (1 - z)  # a = (1 - z) n + z a_prev
    return Deltas(dx=(ds_r, ds_z), dr=(ds_r, ds_z), dprev=(dq * reset,))


register(Cell("gru_after", (Stage(("r", "z", "n"), _after, _after_backward),)))
register(
    Cell(
        "gru_before",
        (
            Stage(("r", "z"), _before_reset, _before_reset_backward),
            Stage(("n",), _before_new, _before_new_backward),
        ),
    )
)

"""RNN, LSTM and GRU: the recurrent layer with its cell's name filled in."""

from __future__ import annotations

from .. import _check
from .._check import RNG
from .recurrent import Recurrent, variants


class RNN(Recurrent):
    """Simple recurrent layer, ``a = g1(W_aa a_prev + b_aa + W_ax x + b_a)`` [1]_.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    num_layers : int
        Layers, each of which reads the outputs of the one before.
    activation : str
        g1: ``"tanh"``, ``"relu"``, ``"sigmoid"`` or ``"identity"``.
    bias : bool
        False leaves out both biases.
    batch_first : bool
        x and y are (B, T, features) instead of (T, B, features); states are unchanged.
    dropout : float
        Probability in [0, 1) with which `vjp` zeroes an output of every layer but the last; the
        others are divided by ``1 - dropout``.
    bidirectional : bool
        Run each layer in both directions; y is (T, B, 2*H), the forward direction first.
    dtype : str
        ``"float32"`` or ``"float64"``.
    rng : None, int, sequence of int, SeedSequence, BitGenerator or Generator
        Source of the initial parameters, uniform between -1/sqrt(H) and 1/sqrt(H).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind; the wrong value.

    Warns
    -----
    UserWarning
        If there is dropout, and only one layer: it has nowhere to act.

    Notes
    -----
    The state is an array (num_layers * directions, B, H),
    with index ``layer * directions + direction``. Parameters have PyTorch's names and shapes:
    ``weight_ih_l0`` is W_ax (H, I), ``weight_hh_l0`` W_aa (H, H), ``bias_ih_l0`` b_a (H),
    ``bias_hh_l0`` b_aa (H); the other direction's end in ``_reverse``.

    References
    ----------
    .. [1] J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990), 179-211.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        activation: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: str = "float32",
        rng: RNG = None,
    ) -> None:
        self.activation = _check.choice("activation", activation, variants("rnn_"))
        super().__init__(
            f"rnn_{activation}", input_size, hidden_size, num_layers, bias=bias,
            batch_first=batch_first, dropout=dropout, bidirectional=bidirectional,
            dtype=dtype, rng=rng,
        )  # fmt: skip


class LSTM(Recurrent):
    """Long short-term memory [1]_ with forget gates [2]_.

    With gates in the row order i, f, g, o, of which g is tanh and the others sigmoid:
    ``c = f * c_prev + i * g`` and ``a = o * tanh(c)``. The state is ``(a, c)``.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    num_layers : int
        Layers, each of which reads the outputs of the one before.
    peephole : bool
        Let i and f see c_prev, and o see c, through ``weight_peephole_l0`` (3, H), rows
        i, f, o [3]_.
    bias : bool
        False leaves out both biases.
    batch_first : bool
        x and y are (B, T, features) instead of (T, B, features); states are unchanged.
    dropout : float
        Probability in [0, 1) with which `vjp` zeroes an output of every layer but the last; the
        others are divided by ``1 - dropout``.
    bidirectional : bool
        Run each layer in both directions; y is (T, B, 2*H), the forward direction first.
    dtype : str
        ``"float32"`` or ``"float64"``.
    rng : None, int, sequence of int, SeedSequence, BitGenerator or Generator
        Source of the initial parameters, uniform between -1/sqrt(H) and 1/sqrt(H).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind; the wrong value.

    Warns
    -----
    UserWarning
        If there is dropout, and only one layer: it has nowhere to act.

    Notes
    -----
    The state is a tuple ``(a, c)`` of arrays (num_layers * directions, B, H),
    with index ``layer * directions + direction``. Parameters have PyTorch's names and shapes:
    ``weight_ih_l0`` is W_ax (4*H, I), ``weight_hh_l0`` W_aa (4*H, H), ``bias_ih_l0`` b_a (4*H),
    ``bias_hh_l0`` b_aa (4*H); the other direction's end in ``_reverse``.

    References
    ----------
    .. [1] S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9
       (1997), 1735-1780.
    .. [2] F. A. Gers, J. Schmidhuber, F. Cummins, "Learning to forget", Neural Computation 12
       (2000), 2451-2471.
    .. [3] F. A. Gers, N. N. Schraudolph, J. Schmidhuber, "Learning precise timing with LSTM
       recurrent networks", JMLR 3 (2002), 115-143.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        peephole: bool = False,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: str = "float32",
        rng: RNG = None,
    ) -> None:
        self.peephole = _check.boolean("peephole", peephole)
        super().__init__(
            "lstm_peephole" if self.peephole else "lstm", input_size, hidden_size, num_layers,
            bias=bias, batch_first=batch_first, dropout=dropout, bidirectional=bidirectional,
            dtype=dtype, rng=rng,
        )  # fmt: skip


class GRU(Recurrent):
    """Gated recurrent unit [1]_.

    With gates in the row order r, z, n, of which n is tanh and the others sigmoid:
    ``a = (1 - z) * n + z * a_prev``.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    num_layers : int
        Layers, each of which reads the outputs of the one before.
    reset : str
        Where r acts in n: on ``W_aa,n a_prev + b_aa,n`` (``"after"``, as PyTorch has it), or on
        a_prev (``"before"``, as in the paper).
    bias : bool
        False leaves out both biases.
    batch_first : bool
        x and y are (B, T, features) instead of (T, B, features); states are unchanged.
    dropout : float
        Probability in [0, 1) with which `vjp` zeroes an output of every layer but the last; the
        others are divided by ``1 - dropout``.
    bidirectional : bool
        Run each layer in both directions; y is (T, B, 2*H), the forward direction first.
    dtype : str
        ``"float32"`` or ``"float64"``.
    rng : None, int, sequence of int, SeedSequence, BitGenerator or Generator
        Source of the initial parameters, uniform between -1/sqrt(H) and 1/sqrt(H).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind; the wrong value.

    Warns
    -----
    UserWarning
        If there is dropout, and only one layer: it has nowhere to act.

    Notes
    -----
    The state is an array (num_layers * directions, B, H),
    with index ``layer * directions + direction``. Parameters have PyTorch's names and shapes:
    ``weight_ih_l0`` is W_ax (3*H, I), ``weight_hh_l0`` W_aa (3*H, H), ``bias_ih_l0`` b_a (3*H),
    ``bias_hh_l0`` b_aa (3*H); the other direction's end in ``_reverse``.

    References
    ----------
    .. [1] K. Cho et al., "Learning phrase representations using RNN encoder-decoder for
       statistical machine translation", EMNLP 2014.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        reset: str = "after",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: str = "float32",
        rng: RNG = None,
    ) -> None:
        self.reset = _check.choice("reset", reset, variants("gru_"))
        super().__init__(
            f"gru_{reset}", input_size, hidden_size, num_layers, bias=bias,
            batch_first=batch_first, dropout=dropout, bidirectional=bidirectional,
            dtype=dtype, rng=rng,
        )  # fmt: skip

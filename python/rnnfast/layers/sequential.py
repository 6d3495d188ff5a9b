"""A chain of layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .. import _check
from .._check import RNG, Array, Lengths
from ..params import Params
from .base import Backward, Gradients, Layer, Pullback, check_parts
from .stream import SequentialStream, Stream


class Sequential(Layer[tuple[Any, ...]]):
    """Chain of layers, each of which reads the outputs of the one before.

    Parameters
    ----------
    *layers : Layer
        At least one, all of one dtype and one order of axes.

    Notes
    -----
    Parameters are named ``0.weight_ih_l0``, the state is a tuple with one entry a layer, None
    for those without. ``return_sequence=False`` holds for the last layer that has a state: it
    and those after it give the output at the end of each sequence.
    """

    def __init__(self, *layers: Layer[Any]) -> None:
        if not layers:
            raise ValueError("layers is empty, expected at least one layer")
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layers[{i}] is a {type(layer).__name__}, expected a Layer")
        self.layers = layers
        self.dtype = layers[0].dtype
        self.input_size = layers[0].input_size
        self.takes_ids = layers[0].takes_ids
        self._last_stateful = max(
            (i for i, layer in enumerate(layers) if layer.stateful), default=None
        )
        self.stateful = self._last_stateful is not None
        self._check_chain()

    def _check_chain(self) -> None:
        """Require that each layer can read what the one before it writes."""
        features = None
        orders = set()
        for i, layer in enumerate(self.layers):
            name = f"layers[{i}] = {layer!r}"
            if layer.dtype != self.dtype:
                raise TypeError(f"{name} has dtype {layer.dtype}, expected {self.dtype}")
            if i > 0 and layer.takes_ids:
                raise ValueError(f"{name} takes ids, expected it to be the first layer")
            if features is not None and layer.input_size not in (None, features):
                raise ValueError(f"{name} has input_size {layer.input_size}, expected {features}")
            features = layer.output_size or features
            orders |= {layer.batch_first} if hasattr(layer, "batch_first") else set()
            if len(orders) > 1:
                raise ValueError(
                    f"{name} has batch_first={layer.batch_first},"
                    f" expected {not layer.batch_first} as in the layers before"
                )
        self.output_size = features
        for order in orders:
            self.batch_first = order

    @property
    def params(self) -> Params:
        """Read-only mapping from ``"<index>.<name>"`` to parameter, written in place."""
        return Params(
            {f"{i}.{k}": p for i, layer in enumerate(self.layers) for k, p in layer.params.items()}
        )

    def _run(
        self, x: Array, state: Any, lengths: Lengths | None, return_sequence: bool
    ) -> tuple[Array, tuple[Any, ...]]:
        finals: list[Any] = []
        for layer, part, ends, sequence in self._plan(state, lengths, return_sequence):
            with self._note(len(finals)):
                x, final = layer(x, part, ends, return_sequence=sequence)
            finals.append(final)
        return x, tuple(finals)

    def _run_vjp(
        self,
        x: Array,
        state: Any,
        lengths: Lengths | None,
        return_sequence: bool,
        rng: RNG,
        checkpoint: bool,
    ) -> tuple[Array, tuple[Any, ...], Backward]:
        rng = None if rng is None else _check.generator(rng)  # one stream for all the masks
        finals: list[Any] = []
        pullbacks: list[Pullback] = []
        for layer, part, ends, sequence in self._plan(state, lengths, return_sequence):
            with self._note(len(finals)):
                x, final, pullback = layer.vjp(
                    x, part, ends, rng=rng, checkpoint=checkpoint, return_sequence=sequence
                )
            finals.append(final)
            pullbacks.append(pullback)

        def backward(
            dy: Array | None, dstate: Any, retain: bool, skip: frozenset[str]
        ) -> Gradients:
            dx = dy
            dinitial: list[Any] = [None] * len(pullbacks)
            grads: dict[str, Array] = {}
            for i in reversed(range(len(pullbacks))):
                prefix = f"{i}."
                leave_out = {n.removeprefix(prefix) for n in skip if n.startswith(prefix)}
                if i == 0:
                    leave_out |= skip & {"x"}
                part = None if dstate is None else dstate[i]
                dx, dinitial[i], found = pullbacks[i](dx, part, retain=retain, skip=leave_out)
                grads |= {prefix + name: grad for name, grad in found.items()}
            ordered = {name: grads[name] for name in self.params if name in grads}
            return dx, tuple(dinitial), ordered

        return x, tuple(finals), backward

    @contextmanager
    def _note(self, i: int) -> Iterator[None]:
        """Add to an error which layer it comes from: its arguments have names of their own."""
        try:
            yield
        except (TypeError, ValueError) as error:
            error.add_note(f"in layers[{i}] = {self.layers[i]!r}")
            raise

    def _plan(
        self, state: Any, lengths: Lengths | None, return_sequence: bool
    ) -> list[tuple[Layer[Any], Any, Lengths | None, bool]]:
        """Return each layer with its part of the state, its lengths and its return_sequence."""
        parts = (None,) * len(self.layers) if state is None else state
        check_parts("state", parts, len(self.layers))
        if return_sequence:
            return [(x, part, lengths, True) for x, part in zip(self.layers, parts, strict=True)]
        last = self._last_stateful
        if last is None:
            raise ValueError("return_sequence is False, expected True: no layer has a state")
        # After the layer that returns only the end of a sequence, the axis of time is gone.
        return [
            (layer, part, lengths if i <= last else None, i != last)
            for i, (layer, part) in enumerate(zip(self.layers, parts, strict=True))
        ]

    def freeze(self) -> None:
        """Freeze every layer."""
        for layer in self.layers:
            layer.freeze()

    def unfreeze(self) -> None:
        """Unfreeze every layer."""
        for layer in self.layers:
            layer.unfreeze()

    def stream(self, batch: int = 1) -> Stream[tuple[Any, ...]]:
        return SequentialStream(self, batch)

    def config(self) -> dict[str, Any]:
        """Return ``{"layers": ...}``, the layers themselves."""
        return {"layers": self.layers}

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

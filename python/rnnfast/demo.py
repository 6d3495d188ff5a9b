"""The demo: forecast next year's sunspot number with an LSTM, from all the years before it.

The yearly mean sunspot numbers, 1700 to 2008, are from the National Geophysical Data Center
(public domain), as distributed with statsmodels. The settings were chosen by the forecasts of
1829 to 1888 and 1889 to 1948, after training on the years before each, so that nothing depends on
the held-back years.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from . import _rnnfast, functional, losses, optim, reference
from ._check import Array
from ._optional import require
from .config import num_threads
from .layers import LSTM, Dense, Sequential

HELD_BACK = 60  # the last years, which training never sees
HIDDEN = 16
WINDOW = 66  # years in a training sequence: six cycles of the sun
WARM_UP = 11  # years at a sequence's start whose forecasts do not count in the loss
BATCH = 16
STEPS = 100
ORDER = 9  # of the autoregression


class Series(NamedTuple):
    """The yearly sunspot numbers."""

    years: Array  # (N,)
    numbers: Array  # (N,)


class Scale(NamedTuple):
    """To the network's unit and back: the square root evens out the variance."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, numbers: Array) -> Scale:
        roots = np.sqrt(numbers)
        return cls(float(roots.mean()), float(roots.std()))

    def apply(self, numbers: Array) -> Array:
        return ((np.sqrt(numbers) - self.mean) / self.deviation).astype(np.float32)

    def undo(self, z: Array) -> Array:
        return np.maximum(z.astype(float) * self.deviation + self.mean, 0.0) ** 2


class Progress:
    """Loss and sequences per second: a tqdm bar where that is installed, else a line a second."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.loss = total, 0, float("nan")
        self.start = self.shown = perf_counter()
        self.bar: Any = None
        with suppress(ImportError):
            tqdm = require("tqdm", "train", "the progress bar").tqdm
            self.bar = tqdm(total=total, unit="seq", unit_scale=True)

    def update(self, sequences: int, loss: float) -> None:
        self.done, self.loss = self.done + sequences, loss
        if self.bar is not None:
            self.bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            self.bar.update(sequences)
        elif perf_counter() - self.shown >= 1.0:
            self._line()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
        else:
            self._line()

    def _line(self) -> None:
        self.shown = perf_counter()
        speed = self.done / (self.shown - self.start)
        print(f"{self.done:>6}/{self.total} sequences  loss {self.loss:.3f}  {speed:,.0f} seq/s")


def load() -> Series:
    """Read the series that comes with the package."""
    text = files("rnnfast").joinpath("data", "sunspots.csv").read_text(encoding="ascii")
    years, numbers = np.loadtxt(text.splitlines(), delimiter=",", skiprows=1, unpack=True)
    return Series(years, numbers)


def make_model(seed: int) -> Sequential:
    """Return the untrained forecaster: this year's number in, next year's out."""
    rng = np.random.default_rng(seed)
    return Sequential(LSTM(1, HIDDEN, rng=rng), Dense(HIDDEN, 1, rng=rng))


def train(model: Sequential, z: Array, steps: int, seed: int) -> None:
    """Train on random windows of z (N,), with Adam and gradient clipping."""
    rng = np.random.default_rng([seed, 1])
    adam = optim.Adam(model.params, lr=1e-2)
    counts = np.ones((WINDOW, BATCH), bool)
    counts[:WARM_UP] = False
    progress = Progress(steps * BATCH)
    for step in range(steps):
        adam.lr = 1e-2 * (1 - step / steps)
        first = rng.integers(0, len(z) - WINDOW, BATCH)
        windows = z[first + np.arange(WINDOW + 1)[:, None], None]  # (T+1, B, 1)
        y, _, pullback = model.vjp(windows[:-1])
        loss, dy = losses.mse(y, windows[1:], mask=counts)
        grads = pullback(dy).params
        optim.clip_by_norm(grads, 1.0)
        adam.step(grads)
        progress.update(BATCH, loss)
    progress.close()


def forecast(model: Sequential, scale: Scale, numbers: Array) -> Array:
    """Return the forecast of each year (N - 1,) from the second, from the years before it."""
    y, _ = model(scale.apply(numbers[:-1])[:, None])
    return scale.undo(y[:, 0])


def autoregression(numbers: Array, known: int) -> Array:
    """Return AR(9)'s forecast of each year (N - known,), fitted to the first `known` years."""
    past = np.lib.stride_tricks.sliding_window_view(numbers, ORDER)[:-1]  # row t: years t to t+8
    design = np.column_stack([np.ones(len(past)), past])
    fitted = known - ORDER
    weights, *_ = np.linalg.lstsq(design[:fitted], numbers[ORDER:known], rcond=None)
    return np.asarray(design[fitted:] @ weights)


def evaluate(model: Sequential, scale: Scale, numbers: Array) -> dict[str, Array]:
    """Return each method's forecasts of the held-back years (60,), one year ahead."""
    N = len(numbers)
    return {
        "LSTM": forecast(model, scale, numbers)[-HELD_BACK:],
        "same as last year": numbers[N - HELD_BACK - 1 : N - 1],
        "same as 11 years ago": numbers[N - HELD_BACK - 11 : N - 11],
        f"AR({ORDER}), least squares": autoregression(numbers, N - HELD_BACK),
    }


def time_training_step(implementation: Any, model: Sequential, repeats: int) -> float:
    """Return the seconds that the LSTM's forward and backward pass take, the median."""
    p = model[0].params
    rng = np.random.default_rng(0)
    x = rng.standard_normal((WINDOW, BATCH, 1)).astype(np.float32)
    da = rng.standard_normal((WINDOW, BATCH, HIDDEN)).astype(np.float32)

    def step() -> None:
        _, _, pullback = implementation.lstm_vjp(
            x, None, p["weight_ih_l0"], p["weight_hh_l0"], p["bias_ih_l0"], p["bias_hh_l0"]
        )
        pullback(da)

    return _median_time(step, repeats)


def _median_time(function: Callable[[], None], repeats: int) -> float:
    function()
    times = []
    for _ in range(repeats):
        start = perf_counter()
        function()
        times.append(perf_counter() - start)
    return median(times)


def plot(path: Path, years: Array, numbers: Array, forecasts: dict[str, Array]) -> None:
    """Draw the held-back years and two forecasts of them, if matplotlib is there."""
    try:
        matplotlib = require("matplotlib.figure", "plot", "the plot")
    except ImportError as error:
        print(f"No plot: {error}")
        return
    figure = matplotlib.Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(years, numbers, color="black", linewidth=2, label="observed")
    for (name, values), color in zip(forecasts.items(), ("tab:red", "tab:blue"), strict=True):
        axes.plot(years, values, color=color, linewidth=1, label=name)
    axes.set(xlabel="year", ylabel="sunspot number", title="Forecasts one year ahead")
    axes.legend()
    figure.savefig(path, dpi=120)
    print(f"Plot written to {path.resolve()}")


def main(seed: int = 0, steps: int = STEPS, path: str = "sunspots.png") -> dict[str, float]:
    """Run the demo.

    Parameters
    ----------
    seed : int
        Of the initial parameters and the training windows.
    steps : int
        Training steps, of 16 windows each.
    path : str
        Where to write the plot.

    Returns
    -------
    errors : dict of str to float
        Root mean squared error of each method over the held-back years.
    """
    years, numbers = load()
    known = len(numbers) - HELD_BACK
    scale = Scale.of(numbers[:known])
    model = make_model(seed)
    print(
        f"Yearly sunspot numbers: training on {years[0]:.0f} to {years[known - 1]:.0f},"
        f" held back {years[known]:.0f} to {years[-1]:.0f}.\n"
        f"{model!r}: {model.num_parameters} parameters,"
        f" {_rnnfast.isa()}, {num_threads()} thread(s)."
    )
    train(model, scale.apply(numbers[:known]), steps, seed)

    forecasts = evaluate(model, scale, numbers)
    observed = numbers[known:]
    errors = {k: float(np.sqrt(np.mean((v - observed) ** 2))) for k, v in forecasts.items()}
    print("\nForecasts one year ahead of the held-back years, root mean squared error:")
    for name, error in errors.items():
        print(f"  {name:<22}{error:6.1f}{'  lowest' if error == min(errors.values()) else ''}")

    ours = time_training_step(functional, model, repeats=50)
    theirs = time_training_step(reference, model, repeats=5)
    print(
        f"\nOne training step of the LSTM (forward and backward, T={WINDOW}, B={BATCH},"
        f" H={HIDDEN}):\n  kernel {1e3 * ours:.3f} ms, NumPy reference {1e3 * theirs:.3f} ms,"
        f" {theirs / ours:.0f} times as long"
    )
    names = ("LSTM", f"AR({ORDER}), least squares")
    plot(Path(path), years[known:], observed, {name: forecasts[name] for name in names})
    return errors

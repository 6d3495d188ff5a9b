"""The demo: it beats the simple forecasts, sees nothing of the held-back years, and says so."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import FLOAT32_FACTOR, Array, assert_close
from rnnfast import demo, functional, reference


def test_series() -> None:
    years, numbers = demo.load()
    assert_array_equal(years, np.arange(1700, 2009))
    assert (numbers[0], numbers[1957 - 1700], numbers[-1]) == (5.0, 190.2, 2.9)


@pytest.mark.parametrize("seed", range(6))
def test_beats_the_simple_forecasts(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    errors = demo.main(seed, path=str(tmp_path / "plot.png"))
    ours, last_year, cycle, autoregression = errors.values()
    assert ours < last_year
    assert ours < cycle
    _, numbers = demo.load()
    observed = numbers[-60:]
    for got, forecast in ((last_year, numbers[-61:-1]), (cycle, numbers[-71:-11])):
        assert got == pytest.approx(np.sqrt(((forecast - observed) ** 2).mean()), rel=1e-12)
    assert autoregression == pytest.approx(19.14, abs=0.01)


def test_autoregression() -> None:
    """A series that is an autoregression is forecast exactly, from its own first values."""
    weights = np.array([0.5, 0, 0, 0.2, 0, 0, 0, 0, 0.29])  # the year before first
    rng = np.random.default_rng(0)
    series = list(rng.standard_normal(9))
    while len(series) < 60:
        series.append(0.3 + float(weights @ series[:-10:-1]))
    got = demo.autoregression(np.array(series), known=40)
    assert_allclose(got, series[40:], rtol=0, atol=1e-9)


def test_sees_nothing_of_the_held_back_years(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other numbers in the years to forecast change no forecast made before they are known."""
    years, numbers = demo.load()
    results: list[dict[str, Array]] = []
    for change in (0.0, 100.0):
        series = demo.Series(years, numbers.copy())
        series.numbers[-30:] += change
        monkeypatch.setattr(demo, "load", lambda series=series: series)
        monkeypatch.setattr(demo, "plot", lambda *arguments: results.append(arguments[3]))
        demo.main(steps=5)
    for name, forecast in results[0].items():
        assert_array_equal(results[1][name][:31], forecast[:31])
        assert not np.array_equal(results[1][name][31:], forecast[31:])


def test_scale() -> None:
    numbers = np.array([0.0, 4.0, 100.0])
    scale = demo.Scale.of(numbers)
    z = scale.apply(numbers)
    assert z.dtype == np.float32
    assert abs(z.mean()) < 1e-6
    assert_allclose(scale.undo(z), numbers, rtol=0, atol=1e-4)


def test_output_without_extras(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    demo.main(seed=1, steps=3, path=str(tmp_path / "plot.png"))
    out = capsys.readouterr().out
    assert re.search(r"training on 1700 to 1948, held back 1949 to 2008\.", out)
    assert re.search(r"^ +48/48 sequences  loss \d+\.\d{3}  [\d,]+ seq/s$", out, re.M)
    for name in ("LSTM", "same as last year", "same as 11 years ago", r"AR\(9\), least squares"):
        assert re.search(rf"^  {name} +\d+\.\d(  lowest)?$", out, re.M)
    assert out.count("lowest") == 1
    assert re.search(r"kernel \d+\.\d+ ms, NumPy reference \d+\.\d+ ms, \d+ times as long", out)
    assert 'No plot: the plot needs the package matplotlib: pip install "rnnfast[plot]"' in out
    assert list(tmp_path.iterdir()) == []


def test_a_line_a_second(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    clock = iter([0.0, 0.4, 0.9, 1.2, 1.2, 1.5, 2.0, 2.0])
    monkeypatch.setattr(demo, "perf_counter", lambda: next(clock))
    progress = demo.Progress(50)
    for loss in (4.0, 3.0, 2.0, 1.5):
        progress.update(10, loss)
    progress.close()
    assert capsys.readouterr().out.splitlines() == [
        "    30/50 sequences  loss 2.000  25 seq/s",
        "    40/50 sequences  loss 1.500  20 seq/s",
    ]


class Recording:
    """An implementation that keeps the gradients of each step."""

    def __init__(self, implementation: ModuleType) -> None:
        self.implementation = implementation
        self.gradients: list[dict[str, Array]] = []

    def lstm_vjp(self, *arguments: Any) -> tuple[Any, Any, Any]:
        a, state, pullback = self.implementation.lstm_vjp(*arguments)
        return a, state, lambda da: self.gradients.append(pullback(da))


def test_the_timed_step_is_the_same_step() -> None:
    model = demo.make_model(0)
    ours, theirs = Recording(functional), Recording(reference)
    for recording in (ours, theirs):
        assert demo.time_training_step(recording, model, repeats=2) > 0
        assert len(recording.gradients) == 3  # one to warm up
    K = demo.WINDOW * demo.BATCH  # terms in a weight's gradient
    tolerance = FLOAT32_FACTOR * np.finfo(np.float32).eps * np.sqrt(K) * demo.WINDOW
    assert_close(ours.gradients[0], theirs.gradients[0], float(tolerance))


class Canvas:
    """Stands for matplotlib's figure and axes, and keeps what is drawn."""

    def __init__(self, **options: Any) -> None:
        self.lines: dict[str, tuple[Array, Array]] = {}
        Canvas.last = self

    def subplots(self) -> Canvas:
        return self

    def plot(self, x: Array, y: Array, label: str, **options: Any) -> None:
        self.lines[label] = (x, y)

    def savefig(self, path: Path, dpi: int) -> None:
        path.write_bytes(b"drawn")

    def set(self, **options: str) -> None: ...
    def legend(self) -> None: ...

    last: Canvas


def test_plot(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matplotlib = ModuleType("matplotlib.figure")
    matplotlib.Figure = Canvas  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "matplotlib", ModuleType("matplotlib"))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", matplotlib)
    path, years = tmp_path / "forecast.png", np.arange(3.0)
    demo.plot(path, years, years + 1, {"one": years + 2, "two": years + 3})
    lines = Canvas.last.lines
    assert list(lines) == ["observed", "one", "two"]
    for shift, (x, y) in enumerate(lines.values(), 1):
        assert_array_equal(x, years)
        assert_array_equal(y, years + shift)
    assert path.read_bytes() == b"drawn"
    assert capsys.readouterr().out == f"Plot written to {path}\n"

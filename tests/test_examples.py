"""The examples run and do what they say."""

from __future__ import annotations

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str) -> float:
    result: float = runpy.run_path(str(EXAMPLES / name))["main"]()
    return result


def test_every_example_is_tested() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    assert names == {"forecast_sine.py", "classify_ragged.py", "stream_steps.py"}


def test_forecast_sine() -> None:
    assert run("forecast_sine.py") < 0.25


def test_classify_ragged() -> None:
    assert run("classify_ragged.py") > 0.9


def test_stream_steps() -> None:
    assert run("stream_steps.py") < 1e-5

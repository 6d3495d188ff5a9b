"""The examples run and do what they say."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str) -> float:
    result: float = runpy.run_path(str(EXAMPLES / name))["main"]()
    return result


def test_every_example_is_tested() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    assert names == {
        "classify_ragged.py",
        "encoder_decoder.py",
        "forecast.py",
        "from_pytorch.py",
        "generate_text.py",
        "save_and_resume.py",
        "sentiment.py",
        "stream_steps.py",
    }


def test_encoder_decoder() -> None:
    assert run("encoder_decoder.py") > 0.95


def test_forecast() -> None:
    assert run("forecast.py") < 0.25


def test_from_pytorch() -> None:
    pytest.importorskip("torch")
    assert run("from_pytorch.py") < 1e-6


def test_generate_text() -> None:
    assert run("generate_text.py") < 0.1


def test_save_and_resume() -> None:
    assert run("save_and_resume.py") == 0


def test_sentiment() -> None:
    assert run("sentiment.py") > 0.95


def test_classify_ragged() -> None:
    assert run("classify_ragged.py") > 0.9


def test_stream_steps() -> None:
    assert run("stream_steps.py") < 1e-5

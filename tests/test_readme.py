"""The documents: the README's examples run as they stand, and links point at files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def python_blocks(document: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", document.read_text("utf-8"), re.M | re.S)


def test_readme_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    inference, training = python_blocks(ROOT / "README.md")
    exec(compile(inference, "README.md inference", "exec"), {})
    after: dict[str, Any] = {}
    exec(compile(training, "README.md training", "exec"), after)
    untrained = after["target"].var() * 20  # predicting the mean, summed over 20 steps
    assert after["loss"] < 0.1 * untrained
    assert capsys.readouterr().out == f"loss {after['loss']:.2f}\n"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_point_at_files(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text("utf-8"))
    missing = [target for target in targets if not (document.parent / target).exists()]
    assert missing == []


def test_math_headings_match_their_links() -> None:
    text = (ROOT / "docs" / "math.md").read_text("utf-8")
    headings = re.findall(r"^## (.*)$", text, re.M)
    anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
    linked = set(re.findall(r"\]\(#([^)]+)\)", text))
    assert linked == anchors

"""Pytest plugin: a skipped test fails the run unless tests/allowed_skips.txt names it.

Load it with ``PYTHONPATH=.ci pytest -p check_skips``.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

LIST = Path(__file__).parents[1] / "tests" / "allowed_skips.txt"


def allowed_patterns() -> list[str]:
    """Shell patterns of node ids, one a line; what follows ``#`` is the reason."""
    lines = (line.split(" #")[0].strip() for line in LIST.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


class SkipCheck:
    def __init__(self) -> None:
        self.allowed = allowed_patterns()
        self.refused: list[str] = []

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        is_xfail = hasattr(report, "wasxfail")
        listed = any(fnmatchcase(report.nodeid, pattern) for pattern in self.allowed)
        if report.skipped and not is_xfail and not listed:
            self.refused.append(report.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.note(report)  # a whole module skipped at import

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.refused and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.refused:
            terminalreporter.section("skipped, but not in tests/allowed_skips.txt", red=True)
            for nodeid in self.refused:
                terminalreporter.line(nodeid)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(SkipCheck(), "rnnfast-skip-check")

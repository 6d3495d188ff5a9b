"""Development tasks: ``nox --list`` names them, ``nox -s lint tests`` runs two."""

from __future__ import annotations

import re
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.reuse_existing_virtualenvs = True

CPP_FILES = sorted(
    str(path)
    for folder in ("csrc", "tests/cpp")
    for path in Path(folder).rglob("*")
    if path.suffix in {".hpp", ".cpp", ".h"}
)


@nox.session
def tests(session: nox.Session) -> None:
    """The suite, on an installed build: ``nox -s tests -- -k lstm``."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting, lint and types, changing nothing."""
    session.install("-r", ".ci/lint.txt", "numpy")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy", "--strict", env={"MYPYPATH": "python"})
    session.run("clang-format", "--dry-run", "-Werror", *CPP_FILES)


@nox.session
def stubs(session: nox.Session) -> None:
    """The stub of the extension against the module, in what a module compiled in C++ can tell."""
    session.install("-r", ".ci/lint.txt", ".")
    allowed = "--allowlist=.ci/stubtest_allowed.txt"
    session.run("python", "-m", "mypy.stubtest", "rnnfast._rnnfast", allowed)


@nox.session
def oldest(session: nox.Session) -> None:
    """The suite with the oldest NumPy that pyproject.toml allows."""
    (numpy,) = re.findall(r'"numpy>=([\d.]+)"', Path("pyproject.toml").read_text())
    session.install(".[test]", f"numpy=={numpy}.*")
    session.run("pytest", *session.posargs)


@nox.session
def mutate(session: nox.Session) -> None:
    """Changes of the Python part that no test notices: ``nox -s mutate -- losses gates``."""
    session.install("mutmut==3.8.1", ".[test]")
    session.run("python", ".ci/mutate.py", "build/mutate", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Random problems over all options: ``nox -s fuzz -- --seconds 1800``."""
    session.install(".")
    session.run("python", "-m", "tests.fuzz", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Every row beside each peer that is installed."""
    session.install(".[bench]")
    session.run("python", "-m", "rnnfast", "bench", "--all", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The README's code blocks, the examples and every link between the documents."""
    session.install(".[test]")
    session.run("pytest", "tests/test_readme.py", "tests/test_examples.py")


def ctest(session: nox.Session, preset: str) -> None:
    session.install("cmake", "ninja")
    session.run("cmake", "--preset", preset, "--fresh")
    session.run("cmake", "--build", "--preset", preset)
    session.run("ctest", "--preset", preset)


@nox.session
def sanitize(session: nox.Session) -> None:
    """The C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer."""
    ctest(session, "sanitize")


@nox.session
def tsan(session: nox.Session) -> None:
    """The C++ tests of threads under ThreadSanitizer."""
    ctest(session, "tsan")


@nox.session
def symbols(session: nox.Session) -> None:
    """The optimised build: the C++ tests, and no weak symbol in a tier's objects."""
    ctest(session, "release")


@nox.session
def guard(session: nox.Session) -> None:
    """Speed by counting: instructions of a step, and the disassembly of the hot loops."""
    session.install("cmake", "ninja")
    session.run("cmake", "--preset", "release")
    session.run("cmake", "--build", "--preset", "release")
    build = Path("build/release")
    session.run("python", "tests/guard/instructions.py", str(build / "tests/cpp/rnnfast_count"))
    (avx512,) = build.rglob("avx512.cpp.o")
    session.run("python", "tests/guard/hot_loops.py", str(avx512))


@nox.session
def ulp(session: nox.Session) -> None:
    """The error of exp, tanh and sigmoid at every one of the 2^32 floats."""
    session.install(".[test]")
    session.run("pytest", "tests/kernels/test_ulp.py", env={"RNNFAST_ULP_STRIDE": "1"})

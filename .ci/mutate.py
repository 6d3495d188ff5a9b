"""Mutation testing of the Python part: which small changes does no test notice?

``python .ci/mutate.py FOLDER losses gates`` copies the package that is installed and the tests to
FOLDER, lets mutmut change the modules named (all without a name) and prints the survivors.
Docstrings and messages stay as they are: no test should hang on their words.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import rnnfast

ROOT = Path(__file__).parents[1]
# Lines that hold a message, or a part of one.
MESSAGES = (r"^\s+raise ", r"^\s+f?[\"']", "expected = ", "words = ", "axes = ", "advice = ")
# What starts processes of its own, in which there is no mutmut, or reads the source.
NOT_RUN = (
    "--ignore=tests/api/test_demo.py",
    "--ignore=tests/api/test_docstrings.py",
    "--ignore=tests/api/test_threadpool.py",
    "--deselect=tests/api/test_package.py::test_imports_numpy_and_nothing_else",
    "--deselect=tests/api/test_package.py::test_lazy_modules",
    "--deselect=tests/api/test_package.py::test_info_command",
    # Looks at its caller's frame, which mutmut shifts.
    "--deselect=tests/api/test_training.py::test_dropout_without_effect_warns",
)


def stage(folder: Path, modules: list[str]) -> None:
    """Copy what mutmut needs, and write what it shall do."""
    shutil.rmtree(folder, ignore_errors=True)
    caches = shutil.ignore_patterns("__pycache__", ".mypy_cache")
    shutil.copytree(Path(rnnfast.__file__).parent, folder / "src" / "rnnfast", ignore=caches)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=caches)
    package = Path("src/rnnfast")
    paths = [package / name for name in modules] or [package]
    only = [f"{path}/*" if (folder / path).is_dir() else f"{path}.py" for path in paths]
    leave_out = ["src/rnnfast/bench/*", "src/rnnfast/demo.py", "src/rnnfast/__main__.py"]
    settings = {
        "source_paths": ["src"],
        "only_mutate": only,
        "do_not_mutate": leave_out,
        "do_not_mutate_patterns": list(MESSAGES),
        "pytest_add_cli_args_test_selection": ["tests/api", "tests/contract", *NOT_RUN],
        "use_git_change_detection": False,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    project = (ROOT / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text("\n".join([project, "[tool.mutmut]", *lines, ""]))


def mutmut(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    folder, modules = Path(sys.argv[1]), sys.argv[2:]
    stage(folder, modules)
    print(mutmut(folder, "run").replace("\r", "\n").strip().splitlines()[-2])
    for line in mutmut(folder, "results").splitlines():
        name, _, fate = line.strip().partition(": ")
        if name:
            print(f"\n{name}: {fate}")
            diff = mutmut(folder, "show", name).splitlines()
            print(*(d for d in diff if d[:1] in "+-" and d[:3] not in ("---", "+++")), sep="\n")


if __name__ == "__main__":
    main()

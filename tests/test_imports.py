"""No module of the package imports another in a circle, not inside functions nor for types."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import rnnfast

PACKAGE = Path(rnnfast.__file__).parent


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, root: Path, modules: set[str]) -> set[str]:
    """The modules that any import statement of this file names, wherever it stands."""
    name = module_name(path, root)
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:  # of a package: one of its modules, or a name in it
                inside = f"{source}.{alias.name}"
                found.add(inside if inside in modules else source)
    return (found & modules) - {name}


def graph(root: Path) -> dict[str, set[str]]:
    paths = sorted(root.rglob("*.py"))
    modules = {module_name(path, root) for path in paths}
    modules |= {module_name(path, root) for path in root.rglob("*.pyi")}
    return {module_name(path, root): imported(path, root, modules) for path in paths}


def test_no_circle() -> None:
    edges = graph(PACKAGE)
    assert "rnnfast.layers.base" in edges["rnnfast.layers.recurrent"]
    assert "rnnfast._rnnfast" in edges["rnnfast.layers.recurrent"]
    TopologicalSorter(edges).prepare()


@pytest.mark.parametrize(
    "back",
    [
        "from .one import f",
        "from . import one",
        "import package.one",
        "from package.one import f",
        "def g():\n    from .one import f",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .one import f",
        "from . import version",
        "from .part import f",
    ],
)
def test_circles_are_found(back: str, tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "part").mkdir(parents=True)
    (package / "__init__.py").write_text("from . import two\nversion = 1")
    (package / "one.py").write_text("from .two import g\nf = 1")
    (package / "part" / "__init__.py").write_text("from ..one import f")
    (package / "two.py").write_text("g = 1")
    TopologicalSorter(graph(package)).prepare()
    (package / "two.py").write_text(back)
    with pytest.raises(CycleError):
        TopologicalSorter(graph(package)).prepare()

"""Imports point in one direction, as docs/architecture.md lists the packages, and in no circle between files."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
ORDER = re.findall(r"^(\w+) {2,}\S", PAGE[PAGE.index("## Packages") : PAGE.index("Outside the library")], flags=re.M)
COMMAND = {"command", "io", "settings"}  # what the module that every script imports may import


def _module(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_module(path): path for path in (SOURCE / "speechladder").rglob("*.py")}


def _imports(path: Path) -> set[str]:
    """The modules of the library that a file imports, anywhere in it, also inside functions."""
    out = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path}: relative imports are not used here"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            out |= {name if name in FILES else node.module for name in names}
    return {name for name in out if name.split(".")[0] == "speechladder" and name != "speechladder"}


IMPORTS = {name: _imports(path) for name, path in FILES.items()}


def test_the_page_lists_every_package_and_module():
    there = {path.stem for path in (SOURCE / "speechladder").iterdir() if (path / "__init__.py").exists()}
    there |= {path.stem for path in (SOURCE / "speechladder").glob("*.py")} - {"__init__"}
    assert set(ORDER) == there


@pytest.mark.parametrize("package", ORDER)
def test_no_import_points_to_a_later_package(package):
    allowed = COMMAND if package == "command" else set(ORDER[: ORDER.index(package) + 1])
    for name, imported in IMPORTS.items():
        if name.split(".")[1:2] == [package]:
            assert {other.split(".")[1] for other in imported} <= allowed, name


def test_no_two_files_import_each_other_in_a_circle():
    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        todo = [*IMPORTS[start]]
        while todo:
            module = todo.pop()
            if module not in seen:
                seen.add(module)
                todo += IMPORTS.get(module, ())
        return seen

    assert [name for name in IMPORTS if name in reached(name)] == []

"""The house keeps its plan: contracts that no single module can keep alone."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import msgspec
import pytest

from rock.wire.operations import OPERATIONS

ROOT = Path(__file__).parents[1]
PACKAGES = {"rock": ROOT / "sdk" / "rock", "rocklet": ROOT / "rocklet", "rock_nomad": ROOT / "rock_nomad"}
MODULES = sorted(
    (package, path.relative_to(folder)) for package, folder in PACKAGES.items() for path in folder.rglob("*.py")
)
ROCK_PATHS = ("sdk/", "actions/")
"""ROCK's own module paths under `rock`: re-exports without logic, tested together."""


def _source(package: str, path: Path) -> str:
    return (PACKAGES[package] / path).read_text()


def _name(package: str, path: Path) -> str:
    return ".".join([package, *path.with_suffix("").parts]).removesuffix(".__init__")


def _is_facade(source: str) -> bool:
    """Whether a module only hands names on: a docstring, imports, assignments of names."""
    handed_on = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    return all(isinstance(node, handed_on) for node in ast.parse(source).body)


def _modules_with_tests() -> list[tuple[str, Path]]:
    return [
        (package, path)
        for package, path in MODULES
        if path.name not in {"__init__.py", "__main__.py"} and not _is_facade(_source(package, path))
    ]


@pytest.mark.parametrize(("package", "path"), _modules_with_tests(), ids=lambda part: str(part))
def test_every_module_has_its_test_module(package: str, path: Path) -> None:
    test = ROOT / "tests" / package / path.parent / f"test_{path.stem.lstrip('_')}.py"
    assert test.exists(), f"{package}/{path} has no {test.relative_to(ROOT)}"
    assert re.search(r"^\s*(async )?def test_", test.read_text(), re.MULTILINE)


@pytest.mark.parametrize(("package", "path"), MODULES, ids=lambda part: str(part))
def test_no_module_outgrows_its_cap(package: str, path: Path) -> None:
    assert len(_source(package, path).splitlines()) <= 600


def _code_lines(source: str) -> int:
    """Lines that do something: neither blank, nor comment, nor docstring, of which STYLE wants many."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, documented) and ast.get_docstring(node))
    said = {line for node in nodes for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)}
    lines = enumerate(source.splitlines(), 1)
    return sum(number not in said and not re.match(r"\s*(#|$)", line) for number, line in lines)


def test_the_embedded_cluster_stays_small() -> None:
    folder = ROOT / "rock_nomad" / "embedded"
    code = [path for path in folder.rglob("*.py") if "drivers" not in path.parts]
    code.remove(folder / "differences.py")  # a list, which the suite reads
    assert sum(_code_lines(path.read_text()) for path in code) <= 2500


@pytest.mark.parametrize(("package", "path"), MODULES, ids=lambda part: str(part))
def test_what_a_module_exports_can_be_imported(package: str, path: Path) -> None:
    if path.name == "__main__.py":
        return
    module = importlib.import_module(_name(package, path))
    assert all(hasattr(module, name) for name in getattr(module, "__all__", []))


def _served(module: str, cls: str) -> set[str]:
    holder = getattr(importlib.import_module(module), cls)
    return {name for name, _ in inspect.getmembers(holder, callable)}


def test_every_operation_is_served_where_the_table_says() -> None:
    rocklet = {name for name, op in OPERATIONS.items() if op.served_by == "rocklet"}
    assert rocklet <= _served("rocklet.engine", "Engine")


WIRE_STRUCTS = [
    (module, node.name)
    for module in ("messages", "commands", "monitoring", "envs", "spec", "errors", "reasons", "operations", "tunnels")
    for node in ast.parse((PACKAGES["rock"] / "wire" / f"{module}.py").read_text()).body
    if isinstance(node, ast.ClassDef)
]


@pytest.mark.parametrize(("module", "name"), WIRE_STRUCTS, ids=lambda part: part)
def test_every_wire_struct_is_frozen_and_takes_keywords_only(module: str, name: str) -> None:
    cls = getattr(importlib.import_module(f"rock.wire.{module}"), name)
    if not issubclass(cls, msgspec.Struct):
        return
    assert cls.__struct_config__.frozen
    with pytest.raises(TypeError, match="Extra positional arguments"):
        cls(*[None] * 50)


ENVIRONMENT_READERS = {
    "rock": {"_config.py"},
    "rocklet": {"config.py"},
    "rock_nomad": {"config.py", "device_plugin/config.py", "embedded/__main__.py"},
}
"""The modules that may read the process's environment."""


@pytest.mark.parametrize(("package", "path"), MODULES, ids=lambda part: str(part))
def test_the_environment_is_read_in_one_place(package: str, path: Path) -> None:
    if str(path) in ENVIRONMENT_READERS[package]:
        return
    assert not re.search(r"os\.(environ|getenv)", _source(package, path))


@pytest.mark.parametrize(("package", "path"), MODULES, ids=lambda part: str(part))
def test_tasks_are_born_in_task_groups(package: str, path: Path) -> None:
    assert not re.search(r"asyncio\.(create_task|ensure_future)\(", _source(package, path))

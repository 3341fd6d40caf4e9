"""What rl-rock's client has and ours: the same, different, or not yet.

`python -m tests.parity` writes `sdk/PARITY.md` and the table of names that are not there yet.  rl-rock's side is read
from its files, ours is what importing gives.
"""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from tests.rl_rock import VERSION, client_modules, find_rl_rock, public_names, read_module, server_modules

__all__ = ["PAGE", "TABLE", "Finding", "compare", "render_page", "render_table"]

SDK = Path(__file__).parents[1] / "sdk"
PAGE = SDK / "PARITY.md"
TABLE = SDK / "rock" / "_absent_names.py"


class Finding(NamedTuple):
    """How one public name of rl-rock fares here."""

    module: str
    name: str
    home: str
    """rl-rock's module that defines it."""
    is_here: bool
    differences: tuple[str, ...] = ()


def compare(folder: Path) -> list[Finding]:
    """Every public name of every client module."""
    return [
        _compare_name(folder, module, name, home)
        for module in client_modules(folder)
        for name, home in public_names(folder, module).items()
    ]


def _compare_name(folder: Path, module: str, name: str, home: str) -> Finding:
    if not _has(module, name):
        return Finding(module, name, home, is_here=False)
    theirs = _definition(folder, home, name)
    ours = getattr(importlib.import_module(module), name)
    return Finding(module, name, home, is_here=True, differences=tuple(_differences(theirs, ours)))


def _has(module: str, name: str) -> bool:
    """Whether a module of ours has the name itself, and not what stands for one that is absent."""
    if not (_file(module).exists()):
        return False
    ours = importlib.import_module(module)
    if module == "rock":
        return name in ours.__all__
    # A type that stands for an absent name is put among the module's own ones when it is first asked for.
    return name in vars(ours) and "_is_absent" not in getattr(vars(ours)[name], "__dict__", {})


def _file(module: str) -> Path:
    base = SDK.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def _definition(folder: Path, module: str, name: str) -> ast.stmt | None:
    for node in read_module(folder, module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return node
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
            return node
    return None


def _differences(theirs: ast.stmt | None, ours: Any) -> Iterator[str]:  # noqa: ANN401 - anything a module may hold
    if isinstance(theirs, ast.ClassDef):
        if not isinstance(ours, type):
            yield "no class"
            return
        yield from _class_differences(theirs, ours)
    elif isinstance(theirs, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from _signature_differences(theirs, ours, name="")
    elif isinstance(theirs, ast.Assign):
        value = _literal(theirs.value)
        if value is not _UNKNOWN and value != ours:
            yield f"{value!r} there, {ours!r} here"


def _class_differences(theirs: ast.ClassDef, ours: type) -> Iterator[str]:
    lineage = {each.__name__ for each in ours.__mro__} | {"ABC", "Generic"}
    for base in map(ast.unparse, theirs.bases):
        if base.partition("[")[0].rpartition(".")[2] not in lineage:
            yield f"no {base}"
    if issubclass(ours, enum.Enum):
        yield from _member_differences(theirs, ours)
    elif issubclass(ours, BaseModel):
        yield from _field_differences(theirs, ours)
    for node in theirs.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield from _method_differences(node, ours)


def _member_differences(theirs: ast.ClassDef, ours: type[enum.Enum]) -> Iterator[str]:
    for node in theirs.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, _literal(node.value)
            value = value[0] if isinstance(value, tuple) else value  # a number and its phrase
            if not name.startswith("_") and (name not in ours.__members__ or ours[name].value != value):
                yield f"no {name} = {value!r}"


def _field_differences(theirs: ast.ClassDef, ours: type[BaseModel]) -> Iterator[str]:
    known = set()
    for node in theirs.body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        name = node.target.id
        known.add(name)
        if name not in ours.model_fields:
            yield f"no field `{name}`"
            continue
        annotation, mine = ast.unparse(node.annotation), _annotation(ours, name).replace("dict[Any, Any]", "dict")
        if annotation != mine:
            yield f"`{name}` is `{annotation}` there, `{mine}` here"
        value = _default(node.value)
        default = ours.model_fields[name].get_default(call_default_factory=True)
        if value is not _UNKNOWN and value != default:
            yield f"`{name}` is {value!r} there by default, {default!r} here"
    more = sorted(name for name in inspect.get_annotations(ours) if name in ours.model_fields.keys() - known)
    if more:
        yield f"also has {', '.join(f'`{name}`' for name in more)}"


def _annotation(ours: type, name: str) -> str:
    for each in ours.__mro__:
        if (annotation := inspect.get_annotations(each).get(name)) is not None:
            return ast.unparse(ast.parse(str(annotation)))
    return ""


def _method_differences(theirs: ast.FunctionDef | ast.AsyncFunctionDef, ours: type) -> Iterator[str]:
    decorators = {ast.unparse(each) for each in theirs.decorator_list}
    if any(each.endswith((".setter", "validator")) or "validator(" in each for each in decorators):
        return
    member = inspect.getattr_static(ours, theirs.name, None)
    if member is None:
        yield f"no `{theirs.name}`"
    elif "property" not in decorators:
        yield from _signature_differences(theirs, getattr(ours, theirs.name), name=theirs.name)


def _signature_differences(
    theirs: ast.FunctionDef | ast.AsyncFunctionDef,
    ours: Any,  # noqa: ANN401 - a function of any kind
    *,
    name: str,
) -> Iterator[str]:
    mine = {each.name: each.default for each in inspect.signature(ours).parameters.values() if each.name != "self"}
    wanted = _parameters(theirs)
    call = f"`{name}`" if name else "it"
    if inspect.iscoroutinefunction(ours) != isinstance(theirs, ast.AsyncFunctionDef):
        yield f"{call} is {'no ' if isinstance(theirs, ast.AsyncFunctionDef) else ''}coroutine"
    shared = [each for each in mine if each in wanted]
    if missing := [each for each in wanted if each not in mine]:
        yield f"{call} does not take {', '.join(f'`{each}`' for each in missing)}"
    if more := [each for each in mine if each not in wanted]:
        yield f"{call} also takes {', '.join(f'`{each}`' for each in more)}"
    if shared != [each for each in wanted if each in mine]:
        yield f"{call} takes its arguments in another order"
    for each in shared:
        if wanted[each] is not _UNKNOWN and wanted[each] != mine[each]:
            yield f"{call}: `{each}` is {_show(wanted[each])} there by default, {_show(mine[each])} here"


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, Any]:
    given = function.args
    positional = [each.arg for each in [*given.posonlyargs, *given.args]]
    defaults: dict[str, Any] = dict.fromkeys(positional, inspect.Parameter.empty)
    for name, value in zip(reversed(positional), reversed(given.defaults), strict=False):
        defaults[name] = _literal(value)
    for only, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        defaults[only.arg] = inspect.Parameter.empty if default is None else _literal(default)
    for rest in (given.vararg, given.kwarg):
        if rest is not None:
            defaults[rest.arg] = inspect.Parameter.empty
    return {name: value for name, value in defaults.items() if name not in ("self", "cls")}


_UNKNOWN = object()
"""A value that the source does not tell."""


def _literal(node: ast.expr) -> Any:  # noqa: ANN401 - any literal
    try:
        return ast.literal_eval(node)
    except ValueError:
        return _UNKNOWN


def _default(node: ast.expr | None) -> Any:  # noqa: ANN401 - any literal
    """A field's default; `Field(default=...)` too."""
    if isinstance(node, ast.Call):
        given = [each.value for each in node.keywords if each.arg == "default"]
        return _literal(given[0]) if given else _UNKNOWN
    return _UNKNOWN if node is None else _literal(node)


def _show(value: Any) -> str:  # noqa: ANN401 - any default
    return "required" if value is inspect.Parameter.empty else repr(value)


def render_page(findings: list[Finding], modules: list[str]) -> str:
    """The page, from what was found."""
    counts = {state: sum(_state(each) == state for each in findings) for state in ("same", "different", "not yet")}
    lines = [
        f"# What of rl-rock {VERSION} is in this client",
        "",
        "Made by `python -m tests.parity`, which reads rl-rock's files and compares names, signatures, bases, fields",
        "and defaults. A name that is not here yet can be imported, subclassed and annotated with; calling it raises",
        "`NotInThisClient`, which names it.",
        "",
        f"{len(modules)} modules, all of which import; {len(findings)} names: {counts['same']} the same, "
        f"{counts['different']} different, {counts['not yet']} not yet.",
        "",
        "A default that rl-rock computes, and what a function does, no reading of files can compare: tests do that.",
        "",
        "| module | same | not yet |",
        "|---|---|---|",
    ]
    for module in modules:
        here = [each for each in findings if each.module == module]
        same, absent = (
            ", ".join(f"`{each.name}`" for each in here if _state(each) == state) for state in ("same", "not yet")
        )
        lines.append(f"| `{module}` | {same} | {absent} |")
    lines += ["", "## Different", "", "| name | how |", "|---|---|"]
    for each in findings:
        if each.differences and each.home == each.module:
            lines.append(f"| `{each.module}.{each.name}` | {'; '.join(each.differences).replace('|', chr(92) + '|')} |")
    lines += ["", "## Left out, because no client imports it", "", "| module | what it is |", "|---|---|"]
    lines += [f"| `{name}` | {what} |" for name, what in server_modules().items()]
    return "\n".join(lines) + "\n"


def _state(finding: Finding) -> str:
    if not finding.is_here:
        return "not yet"
    return "different" if finding.differences else "same"


def render_table(findings: list[Finding], modules: list[str]) -> str:
    """The table of absent names, as a module of the client."""
    entries: dict[str, list[str]] = {module: [] for module in modules if not _file(module).exists()}
    for each in findings:
        if not each.is_here and each.module != "rock":
            known = each.home == each.module or each.home not in modules
            entries.setdefault(each.module, []).append(each.name if known else f"{each.name}={each.home}")
    return _TABLE_HEAD + "\n".join(_render_entries(entries)) + _TABLE_FOOT


def _render_entries(entries: Mapping[str, list[str]]) -> Iterator[str]:
    for module in sorted(entries):
        line = f'    "{module}": "{" ".join(sorted(entries[module]))}",'
        if len(line) <= 120:
            yield line
            continue
        pieces = textwrap.wrap(" ".join(sorted(entries[module])), 104, break_long_words=False, break_on_hyphens=False)
        yield f'    "{module}": ('
        yield from (f'        "{piece}{" " if piece != pieces[-1] else ""}"' for piece in pieces)
        yield "    ),"


_TABLE_HEAD = '''\
"""ROCK's public names that this client does not have yet.  Made by `python -m tests.parity`, like `PARITY.md`.

By module; `name=module` is one that the other module defines.
"""

from __future__ import annotations

__all__ = ["ABSENT"]

_NAMES = {
'''
_TABLE_FOOT = '''
}

ABSENT: dict[str, dict[str, str]] = {
    module: {name: home or module for name, _, home in (each.partition("=") for each in names.split())}
    for module, names in _NAMES.items()
}
"""The module that defines each name, by module and name."""
'''


def main() -> None:
    """Write the page and the table anew."""
    folder = find_rl_rock()
    if folder is None:
        raise SystemExit(f"rl-rock {VERSION} is not cached and cannot be downloaded")
    findings, modules = compare(folder), list(client_modules(folder))
    TABLE.write_text(render_table(findings, modules))
    PAGE.write_text(render_page(findings, modules))


if __name__ == "__main__":
    main()

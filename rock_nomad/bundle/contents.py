"""What a bundle is made of: for each of its files, the file of this machine that it is a copy of."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from rock.wire.errors import BadRequestRockError

__all__ = ["find_contents", "find_distributions", "is_program"]

_MODULES = f"{sys.platlibdir}/python{sys.version_info.major}.{sys.version_info.minor}"
"""Where the interpreter looks for modules.  All lie here: what is called site-packages has another name on Debian."""

_REQUIRED = ("aiohttp", "msgspec", "uvloop")

_OURS = {"rocklet": ("**/*.py",), "rock": ("__init__.py", "_absent*.py", "wire/*.py")}
"""Of our own packages, what the rocklet imports."""

_LEFT_OUT = frozenset(
    {"site-packages", "dist-packages", "__pycache__", "test", "tests", "unittest", "ensurepip", "venv", "pydoc_data"}
    | {"idlelib", "tkinter", "turtle.py", "turtledemo", "lib2to3", "distutils", "curses", "sqlite3", "dbm"}
)
_NEEDLESS_EXTENSION = re.compile(r"_?(test|xx|.*_test|tkinter|sqlite3|curses|dbm|gdbm|nis|readline|ossaudiodev)")
"""Tests, and what brings dozens of libraries along: Tk and X, Kerberos, terminals."""

_OPENED_BY_NAME = ("libgcc_s.so.1", "libnss_files.so.2", "libnss_dns.so.2")
"""What the C library opens while it runs, so that no file says it is needed: to end threads, to look names up."""

_LDD_LINE = re.compile(r"^\t(?:(?P<name>\S+) => )?(?P<path>/\S+) \(0x", re.MULTILINE)


def find_contents() -> dict[str, Path]:
    """The source of each file, by its path in the bundle.

    Raises BadRequestRockError: this Python cannot be bundled, or lacks something; the message says what to do.
    """
    if platform.libc_ver()[0] != "glibc":
        raise BadRequestRockError("this machine has no glibc; build the bundle on one that has, such as a Debian")
    found = {"bin/python3": Path(sys.executable).resolve()}
    found.update({f"{_MODULES}/{name}": path for name, path in _find_modules()})
    return {**found, **_find_libraries([path for path in found.values() if is_program(path)])}


def is_program(path: Path) -> bool:
    """Whether a file is machine code."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def find_distributions() -> list[Distribution]:
    """What the rocklet requires, and what that requires, by name.

    Raises BadRequestRockError: something is not installed.
    """
    found: dict[str, Distribution] = {}
    wanted = list(_REQUIRED)
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _installed(name)
            wanted += _requirements(found[name])
    return sorted(found.values(), key=lambda each: each.name.lower())


def _installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError:
        raise BadRequestRockError(f"{name} is not installed; pip install 'rock-nomad[rocklet]'") from None


def _requirements(required: Distribution) -> Iterator[str]:
    """What a distribution requires on this Python, as far as that is installed: pip has weighed the conditions."""
    for requirement in required.requires or ():
        name, _, condition = requirement.partition(";")
        if "extra ==" not in condition and (match := re.match(r"[\w.-]+", name)):
            found = re.sub(r"[-_.]+", "-", match[0]).lower()
            if not condition or _is_installed(found):
                yield found


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _find_modules() -> Iterator[tuple[str, Path]]:
    """The modules, by their path below the folder of modules."""
    base = {"installed_platbase": sys.base_exec_prefix, "platbase": sys.base_exec_prefix}
    for kind in ("stdlib", "platstdlib"):
        yield from _find_standard(Path(sysconfig.get_path(kind, vars=base)))
    for required in find_distributions():
        for file in required.files or ():
            path = Path(str(required.locate_file(file)))
            if _is_wanted(file.parts) and ".." not in file.parts:
                yield str(file), path
    for package, patterns in _OURS.items():
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        folder = Path(spec.origin).parent
        for pattern in patterns:
            for path in folder.glob(pattern):
                yield f"{package}/{path.relative_to(folder)}", path


def _find_standard(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if _is_wanted(parts) and path.is_file() and not parts[0].startswith("config-"):
            yield "/".join(parts), path


def _is_wanted(parts: tuple[str, ...]) -> bool:
    """Whether a file is a module of use, or a licence."""
    name = parts[-1]
    if not _LEFT_OUT.isdisjoint(parts) or (parts[0] == "lib-dynload" and _NEEDLESS_EXTENSION.match(name)):
        return False
    return name.endswith(".py") or ".so" in name or name.startswith("LICENSE")


def _find_libraries(programs: Iterable[Path]) -> dict[str, Path]:
    """The loader and the shared libraries that programs need.

    Raises BadRequestRockError: one of them is missing here.
    """
    ran = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False)
    if missing := re.findall(r"^\t(\S+) => not found", ran.stdout, re.MULTILINE):
        raise BadRequestRockError(f"this Python needs {', '.join(sorted(set(missing)))}, which is not installed")
    libraries = {match["name"]: Path(match["path"]) for match in _LDD_LINE.finditer(ran.stdout)}
    loader = libraries.pop(None)  # the one line without an arrow
    for name in _OPENED_BY_NAME:
        if (path := libraries["libc.so.6"].with_name(name)).exists():
            libraries[name] = path
    return {"lib/ld.so": loader, **{f"lib/{name}": path for name, path in libraries.items()}}

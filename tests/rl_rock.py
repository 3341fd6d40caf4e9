"""ROCK's published client, rl-rock, in a virtual environment of its own: made once, kept outside of this checkout.

There it is run as users run it; and its files are read, without importing them, to be compared with ours.
"""

from __future__ import annotations

import ast
import asyncio
import os
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.published import find_packages, published_python

if TYPE_CHECKING:  # the client's own tests read files here, in an environment without the servers' libraries
    from tests.gateways import Gateway

__all__ = [
    "SAMPLES",
    "VERSION",
    "client_modules",
    "find_rl_rock",
    "public_names",
    "read_module",
    "require_rl_rock",
    "rl_rock_python",
    "run_sample",
    "seconds",
    "server_modules",
]

VERSION = "1.11.0"
_REQUIREMENT = f"rl-rock=={VERSION}"
SAMPLES = Path(__file__).parent / "samples"
TRUE_TIMES = "ROCK_TEST_TRUE_TIMES"
"""A variable; where it is set, commands take as long as a trainer's do: minutes."""

_RUN_TIMEOUT = 900.0 if os.environ.get(TRUE_TIMES) else 120.0  # seconds

_SERVER = {
    "rock.admin": "the gateway of ROCK; ours is `rock_nomad.gateway`",
    "rock.cli": "ROCK's command line; ours is `rock-nomad`",
    "rock.config": "the configuration of ROCK's server",
    "rock.deployments": "how ROCK's server starts containers; here Nomad does",
    "rock.envhub": "ROCK's registry server; its client is rock.sdk.envhub",
    "rock.rocklet": "the agent in ROCK's sandboxes; ours is `rocklet`",
    "rock.sandbox": "the sandbox actors of ROCK's server",
    "rock.utils.database": "the server's database",
    "rock.utils.docker": "the server's use of Docker",
    "rock.utils.k8s": "the server's use of Kubernetes",
    "rock.utils.providers": "the server's use of Redis and Nacos",
    "rock.utils.cgroup_stats": "the agent's statistics",
    "rock.utils.worker": "the server's workers",
    "rock.utils.service": "the server's status files",
    "rock.utils.rwlock": "the server's locks",
    "rock.utils.http_pool": "the server's HTTP connections",
    "rock.utils.archive_command": "the server's archive",
    "rock.utils.jinja_render": "the server's templates",
}
"""ROCK's modules that no client imports, and what each is."""


def server_modules() -> dict[str, str]:
    """The packages and modules that are left out, and why."""
    return dict(_SERVER)


def find_rl_rock() -> Path | None:
    """The folder that holds rl-rock's `rock/`; None where it cannot be had."""
    return find_packages(_REQUIREMENT)


def require_rl_rock() -> Path:
    """The same; a test that needs it is skipped where it cannot be had."""
    return next(rl_rock_python().parents[1].glob("lib/python*/site-packages"))


def rl_rock_python() -> Path:
    """The environment's python; likewise."""
    return published_python(_REQUIREMENT)


def seconds(true: float, short: float) -> str:
    """How long something takes a trainer, as a program's argument; `short` unless true times are asked for."""
    return str(true if os.environ.get(TRUE_TIMES) else short)


async def run_sample(
    name: str, gateway: Gateway, *arguments: str, folder: Path, python: Path | None = None, **variables: str
) -> tuple[int, str]:
    """Run a program of `tests/samples` as a user would: its exit code, and what it printed.

    Only `ROCK_BASE_URL` says where the gateway is, and the key stands in it; `variables` are its environment's others.
    """
    environment = {
        "ROCK_BASE_URL": gateway.url.replace("://", f"://x:{gateway.key}@"),
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        **variables,
    }
    process = await asyncio.create_subprocess_exec(
        *(str(python or rl_rock_python()), str(SAMPLES / name), *arguments),
        env=environment,
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_RUN_TIMEOUT):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, said.decode()


# ------------------------------------------------------------------------------------------------- read as files


def client_modules(folder: Path) -> Iterator[str]:
    """The modules that clients import.  Many packages have no `__init__.py`, so files are walked."""
    for path in sorted((folder / "rock").rglob("*.py")):
        name = ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
        if not any(name == server or name.startswith(f"{server}.") for server in _SERVER):
            yield name


def read_module(folder: Path, name: str) -> ast.Module:
    """A module's source, parsed."""
    base = folder.joinpath(*name.split("."))
    path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    return ast.parse(path.read_text())


def public_names(folder: Path, name: str) -> dict[str, str]:
    """A module's public names, each with the module that defines it."""
    tree = read_module(folder, name)
    names = dict.fromkeys(_defined(tree), name)
    exported = _exported(tree)
    for imported, home in _imported(tree, name, is_package=_is_package(folder, name)).items():
        if (imported in exported or _is_package(folder, name)) and not imported.startswith("_"):
            names.setdefault(imported, _home(folder, home, imported))
    return {each: home for each, home in names.items() if not each.startswith("_") or each in exported}


def _is_package(folder: Path, name: str) -> bool:
    return folder.joinpath(*name.split(".")).is_dir()


def _home(folder: Path, module: str, name: str) -> str:
    """The module that defines a name which another one hands on."""
    try:
        tree = read_module(folder, module)
    except FileNotFoundError:
        return module
    if name in _defined(tree):
        return module
    onward = _imported(tree, module, is_package=_is_package(folder, module)).get(name)
    return _home(folder, onward, name) if onward else module


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name) and target.id not in _PLUMBING and not target.id.startswith("__"):
                    yield target.id


_PLUMBING = {"logger", "T", "F", "R", "P"}
"""Names that are public by accident."""


def _exported(tree: ast.Module) -> set[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "__all__" for to in node.targets):
            return {str(each) for each in ast.literal_eval(node.value)}
    return set()


def _imported(tree: ast.Module, name: str, *, is_package: bool) -> dict[str, str]:
    """The names that a module imports from ROCK's own modules, each with that module."""
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            parents = name.split(".")[: None if is_package and node.level == 1 else -(node.level - is_package) or None]
            home = ".".join([*(parents if node.level else []), *([node.module] if node.module else [])])
            if home.partition(".")[0] == "rock":
                found |= {alias.asname or alias.name: home for alias in node.names}
    return found

"""The Python that hosts GEM environments: a venv of its own in the user's cache, made once, used without a network.

gem-llm 0.1.0 pins msgspec 0.19 and refuses Python after 3.12.0; so it is never installed beside us.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from rock.wire.errors import BadRequestRockError, InternalServerRockError
from rock_nomad.folders import make_once

__all__ = ["Base", "find_gem_python", "set_up_gem"]

REQUIREMENTS = ("gem-llm==0.1.0",)
OLDEST, NEWEST = (3, 10, 0), (3, 12, 0)
"""The Pythons that it takes.  Source: its Requires-Python."""

_OTHER_PYTHONS = ("python3.11", "python3.10", "python3.12")
_PRINT_VERSION = "import sys; print(*sys.version_info[:3])"
_SAID_BY_PIP = ("Collecting ", "Downloading ", "Installing ")

_Version = tuple[int, ...]


class Base(NamedTuple):
    """A Python that a venv can be made of."""

    program: str
    version: _Version


OWN = Base(sys.executable, tuple(sys.version_info[:3]))
"""The one that runs this."""


def find_gem_python(cache: Path, own: Base = OWN) -> Path | None:
    """Where the Python is, or will be once it is set up; None: no Python of this machine would do."""
    base = _find_base(own)
    return None if base is None else _folder(cache, base.version) / "bin" / "python"


class _Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A set-up that came to nothing."""

    compiler: str | None
    """Where pip found one: some of what gem-llm needs is compiled."""
    why: str


def set_up_gem(cache: Path, on_progress: Callable[[str], None], own: Base = OWN, *, try_again: bool = True) -> Path:
    """The Python, made if need be, which takes a minute and a network; `on_progress` is told how far it is.

    Without `try_again`, what failed before with this Python and this compiler fails at once, for the same reason.
    Raises BadRequestRockError: install a Python that gem-llm takes; InternalServerRockError: pip has failed, retry.
    """
    base = _find_base(own)
    if base is None:
        wanted = f"{_dotted(OLDEST[:2])} to {_dotted(NEWEST)}"
        raise BadRequestRockError(f"gem-llm takes Python {wanted}, and this machine has none; install python3.11")
    folder = _folder(cache, base.version)
    compiler, note = shutil.which("cc") or shutil.which("gcc"), folder.with_name(f"{folder.name}.failed")
    before = None if try_again else _read_failure(note)
    if before is not None and before.compiler == compiler and not folder.exists():
        raise InternalServerRockError(f"{before.why} (it failed before; `rock-nomad setup-gem` tries again)")
    try:
        make_once(folder, lambda partial: _build(base.program, partial, on_progress))
    except InternalServerRockError as error:
        note.write_bytes(msgspec.json.encode(_Failure(compiler=compiler, why=error.message)))
        raise
    note.unlink(missing_ok=True)
    return folder / "bin" / "python"


def _read_failure(note: Path) -> _Failure | None:
    try:
        return msgspec.json.decode(note.read_bytes(), type=_Failure)
    except (OSError, msgspec.MsgspecError):
        return None


def _build(program: str, folder: Path, on_progress: Callable[[str], None]) -> None:
    on_progress("making a venv")
    _run([program, "-m", "venv", str(folder)], on_progress)
    python = str(folder / "bin" / "python")
    _run([python, "-m", "pip", "install", "--disable-pip-version-check", *REQUIREMENTS], on_progress)
    on_progress("trying it")
    _run([python, "-I", "-c", "import gem"], on_progress)


def _run(command: list[str], on_progress: Callable[[str], None]) -> None:
    """Run a step.

    Raises InternalServerRockError, with what it said last.
    """
    said = [""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.strip())
            if said[-1].startswith(_SAID_BY_PIP):
                on_progress(said[-1])
    if process.returncode != 0:
        why = next((line for line in reversed(said) if line.startswith("ERROR")), said[-1])
        raise InternalServerRockError(f"GEM could not be set up: {' '.join(command[:4])} failed: {why}; try again")


def _find_base(own: Base) -> Base | None:
    """A Python to make the venv of: the one that runs this, if it would do."""
    if OLDEST <= own.version <= NEWEST:
        return own
    for name in _OTHER_PYTHONS:
        if (program := shutil.which(name)) is not None:
            said = subprocess.run([program, "-c", _PRINT_VERSION], capture_output=True, text=True, check=False).stdout
            version = tuple(int(part) for part in said.split())
            if OLDEST <= version <= NEWEST:
                return Base(program, version)
    return None


def _folder(cache: Path, version: _Version) -> Path:
    digest = hashlib.sha256("\n".join([*REQUIREMENTS, _dotted(version)]).encode()).hexdigest()
    return cache / f"gem-{digest[:12]}"


def _dotted(version: _Version) -> str:
    return ".".join(map(str, version))

"""Building a bundle: the same inputs give the same bytes, and nothing that is in use is ever changed."""

from __future__ import annotations

import gzip
import hashlib
import json
import platform
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rock.wire.errors import InternalServerRockError
from rock_nomad.bundle import BUNDLE_MOUNT, interpreter_command
from rock_nomad.bundle.contents import find_contents, find_distributions, is_program
from rock_nomad.folders import make_once

__all__ = ["archive_bundle", "ensure_bundle", "ensure_cached_bundle", "make_current", "try_bundle"]

_KEPT = 7 * 86_400  # seconds that a bundle stays in the cache unasked for; who runs `dev` longer starts it anew

_TRIAL = "import uvloop, rocklet.server, rocklet.__main__; print(open('/proc/self/maps').read())"
_MAPPED_PROGRAM = re.compile(r"^\S+ r-xp .* (/\S+)$", re.MULTILINE)


def _silent(_said: str) -> None: ...


def ensure_bundle(folder: Path, on_progress: Callable[[str], None] = _silent) -> Path:
    """The bundle made of what is installed here: a folder in `folder`, named by what is in it; made if need be.

    Takes a third of a second if it is there, otherwise some ten; `on_progress` is told how far it is.
    Raises BadRequestRockError: this Python cannot be bundled.  InternalServerRockError: what was made does not work.
    """
    contents = find_contents()
    manifest = _describe(contents)
    name = f"rocklet-{manifest['versions']['rock-nomad']}-{platform.machine()}-{manifest['sha256'][:12]}"
    bundle = folder.absolute() / name
    make_once(bundle, partial(_make, contents=contents, manifest=manifest, on_progress=on_progress))
    return bundle


def ensure_cached_bundle(cache: Path, on_progress: Callable[[str], None] = _silent) -> Path:
    """As `ensure_bundle`, for clusters of this machine alone: in a cache, which those leave that nobody asks for."""
    bundle = ensure_bundle(cache / "own-bundles", on_progress)
    bundle.touch()
    for other in bundle.parent.iterdir():
        if other.lstat().st_mtime < time.time() - _KEPT:
            shutil.rmtree(other, ignore_errors=True)  # another may be at it, too
            if not other.is_dir():
                other.unlink(missing_ok=True)  # an archive, or the lock of a bundle that went
    return bundle


def make_current(bundle: Path) -> Path:
    """Point `current`, beside the bundle, to it.  Sandboxes that run keep the one they began with."""
    link = bundle.with_name("current")
    aside = bundle.with_name("current.partial")
    aside.unlink(missing_ok=True)
    aside.symlink_to(bundle.name)
    aside.replace(link)
    return link


def archive_bundle(bundle: Path) -> tuple[Path, str]:
    """The bundle as a .tar.gz beside it, made if need be, and its SHA-256; the same for the same bundle."""
    archive = bundle.with_name(f"{bundle.name}.tar.gz")
    if not archive.exists():
        aside = bundle.with_name(f"{archive.name}.partial")
        with (
            aside.open("wb") as file,
            gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for path in sorted(bundle.rglob("*")):
                tar.add(path, str(path.relative_to(bundle)), recursive=False, filter=_anonymous)
        aside.replace(archive)
    return archive, _sha256(archive)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime = entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


# ---------------------------------------------------------------------------------------------------------- manifest


def _describe(contents: Mapping[str, Path]) -> dict[str, Any]:
    """The manifest: versions, the SHA-256 of every input, and one of all that decides what the bundle will be."""
    inputs = {name: _sha256(path) for name, path in sorted(contents.items())}
    recipe = [_sha256(path) for path in sorted(Path(__file__).parent.glob("*.py"))]
    decides = json.dumps([inputs, recipe, _strip_version()])
    libc = " ".join(platform.libc_ver())
    return {
        "sha256": hashlib.sha256(decides.encode()).hexdigest(),
        "versions": {
            "rock-nomad": version("rock-nomad"),
            "python": platform.python_version(),
            "libc": libc,
            **{each.name: each.version for each in find_distributions()},
        },
        "inputs": inputs,
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _strip_version() -> str:
    """Which `strip` there is, since it decides about bytes; empty: none."""
    if shutil.which("strip") is None:
        return ""
    return subprocess.run(["strip", "--version"], capture_output=True, text=True, check=True).stdout.partition("\n")[0]


# -------------------------------------------------------------------------------------------------------------- making


def _make(
    folder: Path, contents: Mapping[str, Path], manifest: Mapping[str, object], on_progress: Callable[[str], None]
) -> None:
    on_progress(f"copying {len(contents)} files")
    for name, source in contents.items():
        _copy(source, folder / name)
    if _strip_version():
        on_progress("stripping debug symbols")
        programs = [path for path in (folder / name for name in contents) if is_program(path)]
        _run(["strip", "--strip-debug", *map(str, programs)])
    on_progress("compiling")
    _compile(folder)
    (folder / "MANIFEST.json").write_text(json.dumps(manifest, indent=1) + "\n")
    _open_to_all(folder)
    on_progress("trying it")
    try_bundle(folder)


def _copy(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, to)


def _compile(folder: Path) -> None:
    """Compile every module, for good: what is compiled is never compared with its source again."""
    options = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", BUNDLE_MOUNT]
    # The interpreter of the bundle, told to read its environment: the order of sets is part of what is compiled.
    command = [word for word in interpreter_command(str(folder)) if word != "-I"]
    _run([*command, "-m", "compileall", *options, str(folder / "lib")], environment={"PYTHONHASHSEED": "0"})


def _open_to_all(folder: Path) -> None:
    """Let whatever user an image runs as read it, however strict the umask is here."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() or is_program(path) else 0o644)


def try_bundle(folder: Path) -> None:
    """See that a bundle starts with nothing in its environment, and maps no library but its own.

    Raises InternalServerRockError.
    """
    mapped = _MAPPED_PROGRAM.findall(_run([*interpreter_command(str(folder)), "-c", _TRIAL], environment={}))
    if foreign := {path for path in mapped if not Path(path).is_relative_to(folder)}:
        raise InternalServerRockError(f"the bundle does not stand alone: it uses {', '.join(sorted(foreign))}")


def _run(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise InternalServerRockError(f"the bundle could not be built: {command[0]} said {ran.stderr.strip()[-2000:]}")
    return ran.stdout

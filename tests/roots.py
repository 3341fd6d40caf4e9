"""Root file systems of every kind that sandboxes are made of, as images of a Docker engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from rock_nomad.config import cache_folder
from rock_nomad.folders import make_once
from tests.engine import Engine

__all__ = ["ROOTS"]

_HELLO = '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n'
_MUSL = "/lib/x86_64-linux-musl/libc.so"
_MUSL_LOADER = "lib/ld-musl-x86_64.so.1"


def _debian(suite: str, engine: Engine, *, without: str = "") -> str:
    """A minimal Debian, kept outside the checkout, because it takes a minute to make."""
    if shutil.which("debootstrap") is None or os.getuid() != 0:
        pytest.skip(f"no rootfs of {suite}: that needs debootstrap, and root")
    kept = cache_folder() / "roots" / suite
    try:
        make_once(kept, partial(_debootstrap, suite))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no rootfs of {suite}: debootstrap said {error.stdout.splitlines()[-1:]}")
    with tempfile.NamedTemporaryFile() as file, tarfile.open(kept / "root.tar") as whole:
        archive = tarfile.open(file.name, "w")  # noqa: SIM115 - the import closes it
        for member in whole:
            if not without or Path(member.name).name != without:
                archive.addfile(member, whole.extractfile(member) if member.isreg() else None)
        return engine.import_image(f"{suite}-without-{without}" if without else suite, archive)


def _debootstrap(suite: str, folder: Path) -> None:
    folder.mkdir()
    with tempfile.TemporaryDirectory() as root:
        command = ["debootstrap", "--variant=minbase", suite, root]
        subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
        left_out = ["--exclude=./var/cache", "--exclude=./var/lib/apt", "--exclude=./usr/share/doc", "--exclude=./dev"]
        subprocess.run(["tar", "-C", root, "-cf", str(folder / "root.tar"), *left_out, "."], check=True)


def _busybox(engine: Engine) -> str:
    return engine.busybox


def _musl(engine: Engine) -> str:
    """A musl system: its loader, a program that needs it, and a static busybox for the rest."""
    compiler = shutil.which("musl-gcc")
    if compiler is None or not Path(_MUSL).exists():
        pytest.skip("no rootfs of musl: that needs musl-gcc (Debian's musl-tools)")
    with tempfile.TemporaryDirectory() as folder:
        program, scratch = f"{folder}/hello", Path(folder, "tmp")
        subprocess.run([compiler, "-x", "c", "-", "-o", program], input=_HELLO, text=True, check=True)
        scratch.mkdir()
        scratch.chmod(0o1777)
        files = {"bin/sh": _find_busybox(), "bin/hello": program, _MUSL_LOADER: _MUSL, "tmp": str(scratch)}
        return _import(engine, "musl", files)


def _shell_less(engine: Engine) -> str:
    """One static program and nothing else: no shell, no /tmp, no /etc/passwd."""
    return _import(engine, "shell-less", {"app/busybox": _find_busybox()})


def _find_busybox() -> str:
    program = shutil.which("busybox")
    if program is None:
        pytest.skip("no rootfs without busybox (Debian's busybox-static)")
    return os.path.realpath(program)


def _import(engine: Engine, name: str, files: Mapping[str, str]) -> str:
    with tempfile.NamedTemporaryFile() as file:
        archive = tarfile.open(file.name, "w")  # noqa: SIM115 - the import closes it
        for target, source in files.items():
            archive.add(os.path.realpath(source), target)
        return engine.import_image(name, archive)


ROOTS: Mapping[str, Callable[[Engine], str]] = {
    "debian-bookworm": partial(_debian, "bookworm"),
    "debian-bullseye": partial(_debian, "bullseye"),
    "debian-trixie": partial(_debian, "trixie"),
    "debian-without-bash": partial(_debian, "bookworm", without="bash"),
    "busybox": _busybox,
    "musl": _musl,
    "shell-less": _shell_less,
}
"""How each image is made, by its name; one that this machine cannot make skips the test."""

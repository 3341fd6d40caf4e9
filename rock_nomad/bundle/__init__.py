"""The bundle: a rocklet that needs nothing of the image it runs in, since it brings even its C library.

    MANIFEST.json           what it was made of
    bin/python3             the interpreter
    lib/ld.so, lib/*.so.*   the C library's loader, and every shared library
    lib/python3.11/         the standard library; beside its modules the rocklet and what that requires

It runs wherever it is put.  There is no launcher in it: a script would need a shell of the image, and the kernel hands
the loader no more than one argument from a `#!` line.  The command is a list of arguments instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["BUNDLE_ENVIRONMENT", "BUNDLE_MOUNT", "bundle_command", "interpreter_command"]

BUNDLE_MOUNT = "/opt/rocklet"
"""Where sandboxes find the bundle of a node."""

BUNDLE_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {"LD_PRELOAD": "", "LD_AUDIT": "", "OPENSSL_CONF": "/dev/null"}
)
"""The variables that it must be started with: against libraries that the image would have every program load, made for
another C library, and against the configuration of the image's OpenSSL.  Commands do not inherit them."""


def bundle_command(folder: str) -> tuple[str, ...]:
    """How the rocklet of the bundle in that folder is started."""
    return (*interpreter_command(folder), "-m", "rocklet")


def interpreter_command(folder: str) -> tuple[str, ...]:
    """How the interpreter of the bundle in that folder is started."""
    # The libraries' place is an argument, because commands would inherit LD_LIBRARY_PATH; the image's cache of
    # libraries, and whatever it sets to lead a Python or its text encoding elsewhere, is disregarded.
    loader = (f"{folder}/lib/ld.so", "--inhibit-cache", "--library-path", f"{folder}/lib")
    return (*loader, f"{folder}/bin/python3", "-I", "-S", "-B", "-X", "utf8")

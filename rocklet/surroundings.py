"""What a command starts in: a user, an environment, a directory."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from functools import cache

import msgspec

from rock.wire.errors import InvalidRequest
from rocklet.config import Settings

__all__ = ["Account", "Surroundings", "absolute", "plan_surroundings"]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A user of the sandbox."""

    name: str
    uid: int
    gid: int
    home: str


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a command starts in."""

    env: dict[str, str]
    cwd: str
    account: Account | None = None
    """None: the rocklet's own."""


def plan_surroundings(settings: Settings, *, user: str | None, cwd: str | None, env: Mapping[str, str]) -> Surroundings:
    """What a command starts in, by what its request says and, where that is silent, the sandbox's settings.

    The environment is built, never inherited, so that nothing the rocklet was told reaches a command; what the
    sandbox's image says does, as with `docker exec`.
    Raises InvalidRequest: no such user, or a relative directory.
    """
    account = _find_account(user)
    shown = account or _own_account()
    return Surroundings(
        env={
            "PATH": _PATH,
            "LANG": "C.UTF-8",
            **settings.image_env,
            "HOME": shown.home if account or not settings.owns_home else settings.home,
            "USER": shown.name,
            "TERM": "dumb",
            **settings.env,
            **env,
        },
        cwd=settings.home if cwd is None else absolute(cwd, "cwd", settings),
        account=account,
    )


def absolute(path: str, field: str, settings: Settings) -> str:
    """The path, with `~/` as commands of the sandbox mean it.

    Raises InvalidRequest: it is relative.
    """
    if path.startswith("~/"):
        home = settings.home if settings.owns_home else _own_account().home
        return os.path.join(home, path[2:])
    if not path.startswith("/"):
        raise InvalidRequest(
            f"{field} is {path!r}; it must be absolute, such as /tmp/{path}, or begin with ~/",
            details={"field": field, "value": path, "expected": "an absolute path"},
        )
    return path


def _find_account(name: str | None) -> Account | None:
    """The account of that name; None if that is the rocklet's own."""
    if name is None:
        return None
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, UnicodeEncodeError):
        raise InvalidRequest(
            f"the sandbox has no user {name!r}; add it to the image, or leave user out",
            details={"field": "user", "value": name, "expected": "a name in /etc/passwd"},
        ) from None
    return None if entry.pw_uid == os.getuid() else _to_account(entry)


@cache
def _own_account() -> Account:
    try:
        return _to_account(pwd.getpwuid(os.getuid()))
    except KeyError:  # a container may run as a number that /etc/passwd does not know
        return Account(name=str(os.getuid()), uid=os.getuid(), gid=os.getgid(), home="/")


def _to_account(entry: pwd.struct_passwd) -> Account:
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid, home=entry.pw_dir)

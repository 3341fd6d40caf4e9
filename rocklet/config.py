"""What the rocklet is told when it starts: environment and arguments, read once, into one frozen struct."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from rock.wire.spec import DEFAULT_IDLE_TIMEOUT, DEFAULT_MAX_LIFETIME, ID_PATTERN, EnvName, EnvValue, Seconds

__all__ = ["BadSetting", "Settings", "read_settings"]

_T = TypeVar("_T")

_SandboxId = Annotated[str, Meta(pattern=ID_PATTERN)]
_Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Dialect = Literal["native", "swerex"]
_Port = Annotated[int, Meta(ge=0, le=65535)]
_Positive = Annotated[int, Meta(ge=1)]
_ForwardedPort = Annotated[int, Meta(ge=1, le=65535)]

_LIMITS = {
    "command_limit": "a number of commands, 1 or more",
    "command_log_bytes": "bytes, 1 or more",
    "session_limit": "a number of sessions, 1 or more",
    "read_bytes": "bytes, 1 or more",
    "body_bytes": "bytes, 1 or more",
    "archive_files": "a number of files, 1 or more",
    "archive_bytes": "bytes, 1 or more",
}
"""What must stand in `ROCKLET_` and the name in capitals, for a limit other than that of `Settings`."""
_DEVICE_VARIABLES = ("NVIDIA_", "CUDA_")
"""How the names begin by which a node's device plugin tells a task the devices it has been given."""
_NO_IMAGES_VARIABLES = ("ROCKLET_", "NOMAD_", "CONSUL_", "VAULT_")
"""How the names begin of what a job and its node tell a container beside what its image says, secrets among it."""
_STARTERS = frozenset(("HOME", "USER", "LOGNAME", "PWD", "OLDPWD", "SHLVL", "TERM", "_"))
"""What says who started the rocklet, where and how."""
_INTERPRETERS = frozenset(("LD_PRELOAD", "LD_AUDIT", "OPENSSL_CONF", "LC_CTYPE"))
"""What is set for the rocklet's own interpreter: how its libraries are loaded, by the job, whatever the image had said;
and by Python itself, where no language is set (PEP 538)."""


class BadSetting(Exception):
    """A variable or an argument is missing or wrong; the message names it and says what would do."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that the rocklet is told."""

    sandbox_id: str
    token_sha256: str
    """Of the token that callers must show, in hex.  The token itself is never here."""
    host: str = "0.0.0.0"  # noqa: S104 - a sandbox is reached from outside; nothing listens without a token
    port: int = 0
    """0: any free port; which one is in the log line."""
    idle_timeout: float = DEFAULT_IDLE_TIMEOUT
    """Seconds; likewise the next two."""
    max_lifetime: float = DEFAULT_MAX_LIFETIME
    lease: float | None = None
    image_env: dict[str, str] = {}
    """What the sandbox's image has every program told; empty where there is no image, and the node would speak."""
    env: dict[str, str] = {}
    """The sandbox's environment, for commands."""
    ports: list[int] = []
    """The ports that may be forwarded to; empty: every port from 1024."""
    shares_network: bool = True
    """Whether others, too, listen on the ports that the sandbox sees; then only its own processes' are forwarded to."""
    home: str = "/"
    """Where commands start."""
    owns_home: bool = False
    """Whether that is also the sandbox's home directory; otherwise it is the one in /etc/passwd."""
    gem_python: str = ""
    """The node's Python that has gem-llm, to host environments; where there is none, the sandbox's own may have it."""
    command_limit: int = 256
    """Commands that run by themselves and are known: those that run, and those that have ended and were not closed."""
    command_log_bytes: int = 2**30
    """Of the sandbox's disk, for what they print, all together."""
    session_limit: int = 256
    """Sessions; each is a shell, a PTY and seven descriptors."""
    read_bytes: int = 64 * 2**20
    """Of a file that is read as a text, in one reply; larger ones are downloaded."""
    body_bytes: int = 96 * 2**20
    """Of a request in JSON: a text as large as can be read, and what JSON adds to it."""
    archive_files: int = 100_000
    """Entries of a zip archive; each is 1 KB of memory while it is unpacked."""
    archive_bytes: int = 64 * 2**30
    """Of all files in a zip archive together, as they are written: what it says of itself is not believed."""
    dialect: _Dialect = "native"
    """Whose wire is spoken at the root.  SWE-ReX's is below `/swerex` in any case."""


def read_settings(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> Settings:
    """The settings that a job gives: `ROCKLET_*` variables; `--host` and `--port`, which win; and `--dialect`.

    `environ` is the process's own if it is not given.  Raises BadSetting.
    """
    environ = os.environ if environ is None else environ
    options = _read_options(arguments)
    port = options.get("--port") or environ.get("ROCKLET_PORT")
    if port is None:
        raise BadSetting("ROCKLET_PORT is not set; set it, or give --port N")
    read = _Reader(environ)
    home = environ.get("ROCKLET_HOME") or os.getcwd()
    if not os.path.isdir(home):
        raise BadSetting(f"ROCKLET_HOME is {home!r}; it must be a directory that exists")
    return Settings(
        sandbox_id=read.required("ROCKLET_SANDBOX_ID", _SandboxId, "a sandbox id such as swe-run-7"),
        token_sha256=read.required("ROCKLET_TOKEN_SHA256", _Sha256, "64 hex digits: the SHA-256 of the token"),
        host=options.get("--host", Settings.__struct_defaults__[0]),
        port=_convert("ROCKLET_PORT", port, _Port, "a port number"),
        idle_timeout=read.optional("ROCKLET_IDLE_TIMEOUT", Seconds, "seconds, more than 0", DEFAULT_IDLE_TIMEOUT),
        max_lifetime=read.optional("ROCKLET_MAX_LIFETIME", Seconds, "seconds, more than 0", DEFAULT_MAX_LIFETIME),
        lease=read.optional("ROCKLET_LEASE", Seconds, "seconds, more than 0", None),
        image_env={} if "ROCKLET_HOME" in environ else _pick_image_variables(environ),
        env={
            **{name: value for name, value in environ.items() if name.startswith(_DEVICE_VARIABLES)},
            **read.json("ROCKLET_ENV", dict[EnvName, EnvValue], "a JSON object of names and texts", {}),
        },
        ports=read.json("ROCKLET_PORTS", list[_ForwardedPort], "a JSON list of port numbers", []),
        shares_network=environ.get("ROCKLET_OWNS_NETWORK") != "1",
        home=home,
        owns_home="ROCKLET_HOME" in environ,
        gem_python=environ.get("ROCKLET_GEM_PYTHON", ""),
        **read.limits(),
        dialect=_convert("--dialect", options.get("--dialect", "native"), _Dialect, "native or swerex"),
    )


def _read_options(arguments: Sequence[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        name, _, value = word.partition("=")
        if name not in ("--host", "--port", "--dialect"):
            raise BadSetting(f"unknown argument {word!r}; the arguments are --host ADDRESS, --port N, --dialect NAME")
        options[name] = value or next(words, "")
        if not options[name]:
            raise BadSetting(f"{name} has no value; write {name} VALUE")
    return options


def _pick_image_variables(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if not (name in _STARTERS or name in _INTERPRETERS or name.startswith(_NO_IMAGES_VARIABLES))
    }


class _Reader:
    """Typed values out of an environment."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def required(self, name: str, kind: type[_T] | Any, expected: str) -> _T:  # noqa: ANN401 - an annotated type
        """The value of a variable that must be there."""
        if not self._environ.get(name):
            raise BadSetting(f"{name} is not set; it must be {expected}")
        value: _T = _convert(name, self._environ[name], kind, expected)
        return value

    def optional(self, name: str, kind: type[_T] | Any, expected: str, default: _T) -> _T:  # noqa: ANN401 - an annotated type
        """The value of a variable, or the default where it is unset or empty."""
        given = self._environ.get(name)
        return _convert(name, given, kind, expected) if given else default

    def limits(self) -> dict[str, int]:
        """The limits that are set."""
        given = {name: f"ROCKLET_{name.upper()}" for name in _LIMITS if self._environ.get(f"ROCKLET_{name.upper()}")}
        return {name: self.required(variable, _Positive, _LIMITS[name]) for name, variable in given.items()}

    def json(self, name: str, kind: type[_T] | Any, expected: str, default: _T) -> _T:  # noqa: ANN401 - an annotated type
        """The value of a variable that holds JSON."""
        given = self._environ.get(name)
        if not given:
            return default
        try:
            value: _T = msgspec.json.decode(given.encode(), type=kind)
        except (msgspec.MsgspecError, UnicodeEncodeError) as error:
            raise BadSetting(f"{name} is wrong: {error}; it must be {expected}") from error
        return value


def _convert(name: str, given: str, kind: Any, expected: str) -> Any:  # noqa: ANN401 - an annotated type
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadSetting(f"{name} is {given!r}; it must be {expected}") from error

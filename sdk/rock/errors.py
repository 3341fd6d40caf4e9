"""What can go wrong, by what the caller does next: fix the call, retry, or keep it in the trajectory.

`rock.wire.errors` draws the tree.  Added here is what only a client raises.
"""

from __future__ import annotations

from rock.wire.codes import codes
from rock.wire.errors import (
    BadRequestRockError,
    Canceled,
    ClusterUnavailable,
    CommandFailed,
    CommandNotFound,
    CommandRockError,
    CommandTimeout,
    EnvFailed,
    EnvLost,
    FileAccess,
    FileNotFound,
    Forbidden,
    GatewayUnreachable,
    IdInUse,
    InternalError,
    InternalServerRockError,
    InvalidRequest,
    LimitReached,
    NotReady,
    OutcomeUnknown,
    PortClosed,
    RequestIdReused,
    RockException,
    RouteNotFound,
    SandboxDied,
    SandboxEnded,
    SandboxNotFound,
    SandboxUnreachable,
    SessionBusy,
    SessionExists,
    SessionNotFound,
    StartFailed,
    TooLarge,
    Unauthorized,
)

__all__ = [
    "BadRequestRockError",
    "Canceled",
    "ClusterUnavailable",
    "CommandFailed",
    "CommandNotFound",
    "CommandRockError",
    "CommandTimeout",
    "DeployFailed",
    "EnvFailed",
    "EnvLost",
    "FileAccess",
    "FileNotFound",
    "Forbidden",
    "GatewayUnreachable",
    "IdInUse",
    "InternalError",
    "InternalServerRockError",
    "InvalidParameterRockException",
    "InvalidRequest",
    "LimitReached",
    "NonZeroExitCode",
    "NotInThisClient",
    "NotReady",
    "OutcomeUnknown",
    "PortClosed",
    "RequestIdReused",
    "RockException",
    "RouteNotFound",
    "SandboxDied",
    "SandboxEnded",
    "SandboxNotFound",
    "SandboxUnreachable",
    "SessionBusy",
    "SessionExists",
    "SessionNotFound",
    "StartFailed",
    "TooLarge",
    "Unauthorized",
    "raise_for_code",
]


class InvalidParameterRockException(BadRequestRockError):
    """An argument that this client does not take; nothing was sent.  ROCK's name for it."""


class NotInThisClient(BadRequestRockError, NotImplementedError):
    """Something that ROCK's client has and this one has not, or not yet; the message names it."""


class DeployFailed(BadRequestRockError, RuntimeError):
    """A local directory did not arrive in the sandbox; the message has the sandbox's own words."""


class NonZeroExitCode(CommandRockError):
    """A command in a session ended with another exit code than 0, and the call had asked for an error then.

    Its text starts with `Failed to execute command:`, which ROCK's users look for.
    """

    @classmethod
    def from_command(cls, command: str, exit_code: int | None, output: str) -> NonZeroExitCode:
        """The error for a command's exit code and output."""
        ended = f"{command!r} failed with exit code {exit_code}"
        message = f"Failed to execute command: {ended}. Here is the output:\n{output}"
        return cls(message, details={"exit_code": exit_code, "output": output})

    @property
    def exit_code(self) -> int | None:
        """The command's exit code; None when it was not learnt."""
        exit_code: int | None = self.details.get("exit_code")
        return exit_code

    @property
    def output(self) -> str:
        """What the command had printed."""
        return str(self.details.get("output", ""))


def raise_for_code(code: codes | int | None, message: str) -> None:
    """Raise the family's error for one of ROCK's codes; None and 2xxx pass."""
    if code is None or codes.is_success(code):
        return
    for is_family, error in _FAMILIES:
        if is_family(code):
            raise error(message)
    raise RockException(message)


_FAMILIES = (
    (codes.is_client_error, BadRequestRockError),
    (codes.is_server_error, InternalServerRockError),
    (codes.is_command_error, CommandRockError),
)

"""Every error that crosses a process: its code, its class, what the caller does next.

The tree, by whose doing it is::

    RockException
    ├── BadRequestRockError        fix the call
    │   ├── InvalidRequest         invalid_request      400  a field is missing, unknown or wrong
    │   ├── Unauthorized           unauthorized         401  no key or token, or a wrong one
    │   ├── Forbidden              forbidden            403  the key is good, but not for this
    │   ├── SandboxNotFound        sandbox_not_found    404
    │   ├── SessionNotFound        session_not_found    404
    │   ├── CommandNotFound        command_not_found    404  of those that run by themselves
    │   ├── FileNotFound           file_not_found       404
    │   ├── RouteNotFound          route_not_found      404  (also a method the route does not have: 405)
    │   ├── IdInUse                id_in_use            409  another sandbox, or command, has this id
    │   ├── SessionExists          session_exists       409
    │   ├── SessionBusy            session_busy         409  a program is in the foreground
    │   ├── RequestIdReused        request_id_reused    409  the same request_id with another body
    │   ├── FileAccess             file_access          409  a path that cannot be read or written as asked
    │   ├── SandboxEnded           sandbox_ended        410  it ended; `reason` says why
    │   ├── TooLarge               too_large            413
    │   └── LimitReached           limit_reached        429  a named limit; the message says which
    ├── InternalServerRockError    retry, or mask the episode; never a reward
    │   ├── InternalError          internal             500  a fault of ours
    │   ├── EnvLost                env_lost             502  an environment's host ended; make it again
    │   ├── OutcomeUnknown         outcome_unknown      502  it may or may not have run
    │   ├── SandboxUnreachable     sandbox_unreachable  502  nothing was run
    │   ├── ClusterUnavailable     cluster_unavailable  503  Nomad or Consul did not answer
    │   ├── StartFailed            start_failed         503  it ended before it was ready; `reason` says why
    │   ├── NotReady               not_ready            504  it waits, or starts; ask again
    │   └── GatewayUnreachable     gateway_unreachable  504  raised by the client alone
    └── CommandRockError           part of the trajectory
        ├── CommandTimeout         command_timeout      408  it was killed; `details` has its partial output
        ├── CommandFailed          command_failed       422  it could not be started
        ├── PortClosed             port_closed          502  no server of the sandbox answers on the port
        ├── EnvFailed              env_failed           422  an environment raised an error of its own
        ├── SandboxDied            sandbox_died         410  its own doing: out of memory, or ended from inside
        └── Canceled               canceled             499  the caller went away; the command was ended

`CODES` maps each code to its class; the map is a bijection.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, ClassVar

import msgspec

from rock.wire.codes import codes
from rock.wire.reasons import REASONS, Family, Reason

__all__ = [
    "CODES",
    "BadRequestRockError",
    "Canceled",
    "ClusterUnavailable",
    "CommandFailed",
    "CommandNotFound",
    "CommandRockError",
    "CommandTimeout",
    "EnvFailed",
    "EnvLost",
    "ErrorBody",
    "FileAccess",
    "FileNotFound",
    "Forbidden",
    "GatewayUnreachable",
    "IdInUse",
    "InternalError",
    "InternalServerRockError",
    "InvalidRequest",
    "LimitReached",
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
    "explain_malformed",
    "from_body",
    "to_body",
    "unanswered",
]


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every reply that is not a success."""

    code: str
    """Which error, as in `CODES`."""
    message: str
    """One sentence for a person: what is wrong, the value, the remedy."""
    retryable: bool
    """Whether sending the same call again can succeed."""
    reason: Reason | None = None
    """Why the sandbox ended, where that is the cause."""
    details: dict[str, Any] = {}
    """Fields for programs: `field`, `value`, `expected`, `limit`, `executed`, `output`, `request_id`, ..."""


class RockException(Exception):
    """The root of every error this package raises on purpose.

    `code` is ROCK's number (4000, 5000, 6000) or None, as ROCK's clients expect; the wire's own word is `error`.
    """

    error: ClassVar[str] = ""
    status: ClassVar[int] = 500
    """The HTTP status that carries it."""
    retryable: ClassVar[bool] = False
    family: ClassVar[Family] = Family.INTERNAL

    def __init__(
        self,
        message: str = "",
        code: codes | None = None,
        *,
        reason: Reason | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self._code = code
        self.reason = reason
        self.details: dict[str, Any] = details or {}

    @property
    def code(self) -> codes | None:
        """ROCK's number for the family, or None."""
        return self._code

    @property
    def message(self) -> str:
        """The sentence it was raised with."""
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self._code, self.reason, self.details)


def _rebuild(
    cls: type[RockException], message: str, code: codes | None, reason: Reason | None, details: dict[str, Any]
) -> RockException:
    error = cls(message, code) if code is not None else cls(message)
    error.reason, error.details = reason, details
    return error


class BadRequestRockError(RockException):
    """Fix the call; sent again unchanged it fails again."""

    family = Family.BAD_REQUEST
    status = 400

    def __init__(self, message: str = "", code: codes | None = codes.BAD_REQUEST, **facts: Any) -> None:  # noqa: ANN401 - RockException's keywords
        super().__init__(message, code, **facts)


class InternalServerRockError(RockException):
    """Infrastructure: retry, or mask the episode.  Never a reward."""

    family = Family.INTERNAL

    def __init__(self, message: str = "", code: codes | None = codes.INTERNAL_SERVER_ERROR, **facts: Any) -> None:  # noqa: ANN401 - RockException's keywords
        super().__init__(message, code, **facts)


class CommandRockError(RockException):
    """The command's own doing: part of the trajectory."""

    family = Family.COMMAND
    status = 422

    def __init__(self, message: str = "", code: codes | None = codes.COMMAND_ERROR, **facts: Any) -> None:  # noqa: ANN401 - RockException's keywords
        super().__init__(message, code, **facts)


class InvalidRequest(BadRequestRockError):
    """A field is missing, unknown or wrong; `details` has `field`, `value` and `expected`."""

    error, status = "invalid_request", 400


class Unauthorized(BadRequestRockError):
    """No key or token came, or a wrong one."""

    error, status = "unauthorized", 401


class Forbidden(BadRequestRockError):
    """The key is good, but not for this."""

    error, status = "forbidden", 403


class SandboxNotFound(BadRequestRockError):
    """No such sandbox of this tenant: unknown, or ended longer ago than the cluster keeps."""

    error, status = "sandbox_not_found", 404


class SessionNotFound(BadRequestRockError):
    """No session of that name in this sandbox; create it first."""

    error, status = "session_not_found", 404


class CommandNotFound(BadRequestRockError):
    """No command of that id in this sandbox: never started, closed, or its log had to make room for others'."""

    error, status = "command_not_found", 404


class FileNotFound(BadRequestRockError):
    """No file at that path in the sandbox."""

    error, status = "file_not_found", 404


class RouteNotFound(BadRequestRockError):
    """No operation has this method and path."""

    error, status = "route_not_found", 404


class IdInUse(BadRequestRockError):
    """Another sandbox, made from another request, has this id; or another command of the sandbox has."""

    error, status = "id_in_use", 409


class SessionExists(BadRequestRockError):
    """A session of that name exists already."""

    error, status = "session_exists", 409


class SessionBusy(BadRequestRockError):
    """A program is in the session's foreground: talk to it with `interactive`, or interrupt it."""

    error, status = "session_busy", 409


class RequestIdReused(BadRequestRockError):
    """The same request_id came with another operation or body."""

    error, status = "request_id_reused", 409


class FileAccess(BadRequestRockError):
    """A path that cannot be read or written as asked: a directory, a permission, a full disk."""

    error, status = "file_access", 409


class SandboxEnded(BadRequestRockError):
    """The sandbox has ended; `reason` says why."""

    error, status = "sandbox_ended", 410


class TooLarge(BadRequestRockError):
    """A body or a file is larger than `details["limit"]` bytes."""

    error, status = "too_large", 413


class LimitReached(BadRequestRockError):
    """A named limit (`details["limit"]`) is reached; close something, or ask for more."""

    error, status, retryable = "limit_reached", 429, True


class InternalError(InternalServerRockError):
    """A fault of ours; the request id finds it in the logs."""

    error, status, retryable = "internal", 500, True


class EnvLost(InternalServerRockError):
    """The process that held an environment has ended, and the episode with it; make it again, mask the episode."""

    error, status = "env_lost", 502


class OutcomeUnknown(InternalServerRockError):
    """The connection was lost after sending: it may or may not have run.  Mask the episode."""

    error, status = "outcome_unknown", 502


class SandboxUnreachable(InternalServerRockError):
    """The rocklet cannot be reached; nothing was run."""

    error, status, retryable = "sandbox_unreachable", 502, True


class ClusterUnavailable(InternalServerRockError):
    """Nomad or Consul did not answer; nothing is lost, retry."""

    error, status, retryable = "cluster_unavailable", 503, True


class StartFailed(InternalServerRockError):
    """The sandbox ended before its rocklet answered; `reason` says why.  Start another."""

    error, status, retryable = "start_failed", 503, True


class NotReady(InternalServerRockError):
    """The sandbox still waits or starts; ask again."""

    error, status, retryable = "not_ready", 504, True


class GatewayUnreachable(InternalServerRockError):
    """No gateway answers at the address the client has.  Raised by the client, never sent."""

    error, status, retryable = "gateway_unreachable", 504, True


class CommandTimeout(CommandRockError):
    """The command ran into its timeout and was killed; `details` has the partial output."""

    error, status = "command_timeout", 408


class CommandFailed(CommandRockError):
    """The command could not be started: no such program, no such directory."""

    error, status = "command_failed", 422


class EnvFailed(CommandRockError):
    """An environment raised an error of its own; `details` has its `type` and `traceback`."""

    error, status = "env_failed", 422


class SandboxDied(CommandRockError):
    """The sandbox ended by its own doing (`reason` is oom or exited): part of the trajectory."""

    error, status = "sandbox_died", 410


class PortClosed(CommandRockError):
    """No server in the sandbox answers on the port: start one, or wait for it."""

    error, status = "port_closed", 502


class Canceled(CommandRockError):
    """The caller went away, or cancelled; the command was ended."""

    error, status = "canceled", 499


def _leaves(root: type[RockException]) -> list[type[RockException]]:
    return [cls for family in root.__subclasses__() for cls in family.__subclasses__()]


CODES: MappingProxyType[str, type[RockException]] = MappingProxyType({cls.error: cls for cls in _leaves(RockException)})
"""Every code and its class."""


def unanswered(message: str, why: Exception | None, details: dict[str, Any]) -> RockException:
    """The error for a call that was sent and never answered; `why` is what is known of the sandbox since.

    If it has ended by the command's doing or the caller's, that end is raised, or a policy would learn to crash its
    sandbox to have the episode masked.  Otherwise it is OutcomeUnknown, with the end's reason if there is one.  Either
    says `executed: unknown`.
    """
    details = {**details, "executed": "unknown"}
    reason = why.reason if isinstance(why, RockException) else None
    if isinstance(why, RockException) and reason is not None and REASONS[reason].family is not Family.INTERNAL:
        return type(why)(f"{message}: {why.message}", reason=reason, details={**why.details, **details})
    message = f"{message}, so that it may or may not have run; mask the episode" + (f" ({why})" if why else "")
    return OutcomeUnknown(message, reason=reason, details=details)


_SHOWN = 120  # characters of a parser's words that an error repeats
_FALLBACK: dict[int, type[RockException]] = {4: BadRequestRockError, 5: InternalServerRockError}


def to_body(error: RockException, *, request_id: str | None = None) -> ErrorBody:
    """The body that says this error to another process."""
    details = dict(error.details)
    if request_id is not None:
        details["request_id"] = request_id
    return ErrorBody(
        code=error.error or InternalError.error,
        message=error.message,
        retryable=error.retryable,
        reason=error.reason,
        details=details,
    )


def explain_malformed(said: str) -> InvalidRequest:
    """The error for bytes that are no HTTP request, by the first line of what a parser said of them."""
    shown = said.strip().partition("\n")[0][:_SHOWN].rstrip(":")
    return InvalidRequest(
        f"the request is no HTTP that can be read: {ascii(shown)[1:-1] or 'it breaks off'}; send it again as HTTP/1.1",
        details={"field": "$", "value": ascii(shown)[1:-1], "expected": "an HTTP request"},
    )


def from_body(body: ErrorBody, status: int) -> RockException:
    """The error that a body says; a code of a newer server becomes its family's class, by HTTP status."""
    cls = CODES.get(body.code) or _FALLBACK.get(status // 100, InternalServerRockError)
    return cls(body.message, reason=body.reason, details=body.details)

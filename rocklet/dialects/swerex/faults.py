"""Errors as a client of SWE-ReX can raise them: by the path of a class that it has."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rock.wire import errors
from rocklet.dialects.swerex.messages import Transfer

__all__ = ["CommandTimeoutError", "NoExitCodeError", "NonZeroExitCodeError", "SwerexFault", "transfer"]


class SwerexFault(Exception):
    """Something that is an error on SWE-ReX's wire and none natively."""

    class_path = "swerex.exceptions.SwerexException"


class CommandTimeoutError(SwerexFault):
    """The command ran out of time."""

    class_path = "swerex.exceptions.CommandTimeoutError"


class NoExitCodeError(SwerexFault):
    """The exit code was to be checked and is not known."""

    class_path = "swerex.exceptions.NoExitCodeError"


class NonZeroExitCodeError(SwerexFault):
    """The exit code was to be checked and is not 0."""

    class_path = "swerex.exceptions.NonZeroExitCodeError"


_CLASS_PATHS: Mapping[type[errors.RockException], str] = MappingProxyType(
    {
        errors.SessionExists: "swerex.exceptions.SessionExistsError",
        errors.SessionNotFound: "swerex.exceptions.SessionDoesNotExistError",
        errors.CommandTimeout: "swerex.exceptions.CommandTimeoutError",
        errors.FileNotFound: "builtins.FileNotFoundError",
        errors.FileAccess: "builtins.OSError",
        errors.InvalidRequest: "builtins.ValueError",
    }
)

_SYNTAX_ERROR = "swerex.exceptions.BashIncorrectSyntaxError"


def transfer(error: SwerexFault | errors.RockException) -> Transfer:
    """The error as it is sent; an operating system's own error keeps its class."""
    if isinstance(error, SwerexFault):
        return Transfer(message=str(error), class_path=error.class_path)
    if error.details.get("cause") == "syntax":
        said = {"bash_stdout": "", "bash_stderr": str(error.details["output"])}
        return Transfer(message=error.message, class_path=_SYNTAX_ERROR, extra_info=said)
    path = _CLASS_PATHS.get(type(error), SwerexFault.class_path)
    if isinstance(error.__cause__, OSError):
        path = f"builtins.{type(error.__cause__).__name__}"
    return Transfer(message=error.message, class_path=path, extra_info={"code": error.error})

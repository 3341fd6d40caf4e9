"""What every call through a gateway carries: who asks, about which sandbox, under which request id."""

from __future__ import annotations

import logging
import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from rock.wire.errors import InvalidRequest

__all__ = [
    "Call",
    "Caller",
    "RequestIdFilter",
    "accept_request_id",
    "current_caller",
    "current_request_id",
    "new_request_id",
]

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")  # as CancelRequest has it
_SHOWN = 80  # characters of a wrong value that an error repeats

current_request_id: ContextVar[str] = ContextVar("request_id", default="-")
"""The id of the request being served; `-` outside of one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who is calling, by the API key that was shown."""

    name: str
    tenant: str
    role: Literal["user", "operator"]
    authorization: str | None = field(default=None, repr=False)
    """An `Authorization` that is no key of ours: for a server behind a forwarded port."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call of an operation that the gateway serves itself."""

    caller: Caller
    sandbox_id: str = ""
    """From the path; empty where the operation is about no sandbox in particular."""
    idempotency_key: str | None = None
    """The same key is the same call, however often it comes."""


current_caller: ContextVar[Caller] = ContextVar("caller")
"""Who sent the request being served."""


class RequestIdFilter(logging.Filter):
    """Gives every log record the `request_id` of the request that it was written for."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mark the record; none is held back."""
        record.request_id = current_request_id.get()
        return True


def new_request_id() -> str:
    """An id for a request that came without one."""
    return secrets.token_hex(16)


def accept_request_id(given: str | None) -> str:
    """The id that a request came with, or a new one.

    Raises InvalidRequest: an id that could not be kept as it is would not protect the call from running twice.
    """
    if given is None:
        return new_request_id()
    if not _REQUEST_ID.fullmatch(given):
        raise InvalidRequest(
            "X-Request-ID must be 1 to 128 printable characters without blanks",
            details={"field": "X-Request-ID", "value": given[:_SHOWN], "expected": "1 to 128 printable characters"},
        )
    return given

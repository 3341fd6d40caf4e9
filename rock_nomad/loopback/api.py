"""Calls of the agents' HTTP APIs by whoever set them up: synchronous, with whatever token."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["Api", "Reply", "wait_until"]

_TIMEOUT = 60.0  # seconds
_LOOK_INTERVAL = 0.05  # seconds


class Reply(NamedTuple):
    """What an agent answered."""

    status: int
    data: Any
    """Its JSON; text, where it is none."""
    headers: Mapping[str, str]
    """By names in lower case."""


@dataclass(frozen=True)
class Api:
    """An agent's HTTP API."""

    url: str
    token_header: str
    token: str = field(default="", repr=False)
    """Empty: none is shown."""
    ca_file: str | None = None

    def call(self, method: str, path: str, body: object = None) -> Reply:
        """One call; bytes go as they are, anything else as JSON.  Raises OSError: nobody answers."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {self.token_header: self.token} if self.token else {}
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)  # noqa: S310 - ours
        context = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT, context=context) as response:  # noqa: S310 - ours
                return _reply(response.status, response.read(), response.headers.items())
        except urllib.error.HTTPError as error:
            with error:
                return _reply(error.code, error.read(), error.headers.items())


def _reply(status: int, body: bytes, headers: Any) -> Reply:  # noqa: ANN401 - urllib's
    try:
        data = json.loads(body)
    except ValueError:
        data = body.decode(errors="replace")
    return Reply(status, data, {name.lower(): value for name, value in headers})


def wait_until(is_so: Callable[[], bool], timeout: float) -> bool:
    """Whether something came to be so within a time; that nobody answers yet means not so."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            if is_so():
                return True
        except OSError:
            pass
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_INTERVAL)  # an agent that does not listen yet can only be tried again

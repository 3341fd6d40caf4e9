"""Calls as bytes: made up once and sent as they are, so that what they cost is the other side's doing."""

from __future__ import annotations

import io
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from rock.wire import codec
from rock.wire.errors import ErrorBody, from_body
from rock.wire.operations import REQUEST_ID_HEADER, Operation

__all__ = ["Server", "send"]

_LARGE_BYTES = 2**20  # a body beyond it aiohttp wants in pieces, so that its loop is not blocked


@dataclass(frozen=True, kw_only=True)
class Server:
    """Who answers for a sandbox: its rocklet, or a gateway, which is asked for it by its id."""

    http: aiohttp.ClientSession = field(repr=False)
    url: str
    token: str = field(repr=False)
    """A rocklet's own, or a gateway's API key."""
    sandbox_id: str | None = None
    """None: it is the sandbox's rocklet."""

    def prepare(
        self, operation: Operation[Any, Any], request: msgspec.Struct, body: bytes = b""
    ) -> Callable[[], Awaitable[bytes]]:
        """What makes the call, each time under an id of its own, and returns the answer as it came.

        It raises the RockException that is answered, or an aiohttp.ClientError.  `body` is what an upload takes along.
        """
        is_json = operation.carries == "json"
        path = operation.path if self.sandbox_id is None else operation.gateway_path.format(sandbox_id=self.sandbox_id)
        url = URL(f"{self.url}{path}")
        if not is_json:
            url = url.with_query(codec.encode_query(request))
        content = codec.encode(request) if is_json else body
        kind = "application/json" if is_json else "application/octet-stream"
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}

        async def call() -> bytes:
            shown = {**headers, REQUEST_ID_HEADER: secrets.token_hex(16)}
            status, answer = await send(self.http, operation.method, url, content, shown)
            if status != 200:
                raise from_body(msgspec.json.decode(answer, type=ErrorBody), status)
            return answer

        return call

    async def ask(self, operation: Operation[Any, Any], request: msgspec.Struct) -> Any:  # noqa: ANN401 - its result
        """The operation's result."""
        return codec.decode(operation.result, await self.prepare(operation, request)())


async def send(
    http: aiohttp.ClientSession, method: str, url: URL, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """The status and the body that answer one request.  Raises aiohttp.ClientError."""
    data = body if len(body) <= _LARGE_BYTES else io.BytesIO(body)
    async with http.request(method, url, data=data, headers=headers) as response:
        return response.status, await response.read()

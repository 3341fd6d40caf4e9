"""Somebody who calls a rocklet over HTTP, operation by operation."""

from __future__ import annotations

import io
from typing import Any, TypeVar

import aiohttp
import msgspec

from rock.wire import codec
from rock.wire.errors import ErrorBody, from_body
from rock.wire.messages import CommandOutput, Observation, RunRequest
from rock.wire.operations import EXECUTE, RUN_IN_SESSION, Operation
from rocklet.server import Listening

__all__ = ["TOKEN", "Caller", "RemoteCaller"]

TOKEN = "a token of tests"
_Req = TypeVar("_Req", bound=msgspec.Struct)
_Res = TypeVar("_Res", bound=msgspec.Struct)


class RemoteCaller:
    """Calls operations by their table; errors are raised as the wire's."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http

    async def call(
        self, operation: Operation[_Req, _Res], request: _Req | None = None, *, request_id: str | None = None
    ) -> _Res:
        """Call an operation whose messages are JSON."""
        message = request if request is not None else operation.request()
        headers = {"X-Request-ID": request_id} if request_id else {}
        is_query = operation.carries == "query"
        async with self.http.request(
            operation.method,
            operation.path,
            params=codec.encode_query(message) if is_query else None,
            data=None if is_query else io.BytesIO(codec.encode(message)),
            headers=headers if is_query else {**headers, "Content-Type": "application/json"},
        ) as reply:
            body = await reply.read()
            if reply.status != 200:
                raise from_body(codec.decode(ErrorBody, body), reply.status)
            return codec.decode(operation.result, body)

    async def run(self, command: str, **options: Any) -> Observation:  # noqa: ANN401 - the request's fields
        """Run a command in the session `default`, or the one that is named."""
        request_id = options.pop("request_id", None)
        return await self.call(RUN_IN_SESSION, RunRequest(command=command, **options), request_id=request_id)

    async def execute(self, command: str | list[str], **options: Any) -> CommandOutput:  # noqa: ANN401 - the request's fields
        """Run a program without a session."""
        request_id = options.pop("request_id", None)
        request = codec.decode(EXECUTE.request, msgspec.json.encode({"command": command, **options}))
        return await self.call(EXECUTE, request, request_id=request_id)


class Caller(RemoteCaller):
    """One that calls a rocklet in the test's own process."""

    def __init__(self, http: aiohttp.ClientSession, listening: Listening) -> None:
        super().__init__(http)
        self.port = listening.port
        self.engine = listening.engine

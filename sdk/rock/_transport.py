"""One way to a server: operations in, results or typed errors out.  The only module that speaks HTTP.

Whatever aiohttp can raise becomes one of three failures here, told apart by what may be done next; `_connection`
decides what is done.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from yarl import URL

from rock import _config, _loops
from rock.wire import codec
from rock.wire.errors import BadRequestRockError, ErrorBody, InternalError, InvalidRequest, RockException, from_body
from rock.wire.frames import FRAMES_TYPE, FrameDecoder, FrameKind
from rock.wire.operations import OPERATIONS, REQUEST_ID_HEADER, Operation

__all__ = ["Body", "Call", "Lost", "NotSent", "Route", "RouteFailure", "Stale"]

_PATIENCE = 60.0  # seconds a server may be silent beyond what the request asks it to wait
_HEARTBEATS_MISSED = 3
_LEAST_SILENCE = 10.0  # seconds; a server that is busy may be late with a heartbeat
_UNHURRIED = frozenset(OPERATIONS[name] for name in ("run_in_session", "execute", "interrupt_session", "send_input"))
_SHOWN = 200  # characters of a foreign server's answer that an error repeats

Body = Callable[[], AsyncIterator[bytes]]
"""Makes a request's body anew for each attempt."""


@dataclass(frozen=True)
class Call:
    """One call, the same however often and whichever way it is sent."""

    operation: Operation[Any, Any]
    request: msgspec.Struct
    request_id: str
    sandbox_id: str = ""
    body: Body | None = None
    body_size: int | None = None
    """Bytes that `body` yields; None if nobody can tell before."""

    @property
    def patience(self) -> float | None:
        """Seconds of silence after which the connection counts as lost; None: a command without a time limit."""
        if getattr(self.request, "follow", None):
            heartbeat: float = getattr(self.request, "heartbeat")  # noqa: B009 - whatever can follow has one
            return max(heartbeat * _HEARTBEATS_MISSED, _LEAST_SILENCE)
        asked = [getattr(self.request, name, None) for name in ("timeout", "hold", "startup_timeout", "grace")]
        waits = [wait for wait in asked if wait is not None]
        if not waits and self.operation in _UNHURRIED:
            return None
        return float(sum(waits)) + _PATIENCE


@dataclass(frozen=True)
class Route:
    """A way to a server: a gateway, or one sandbox's rocklet directly."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    is_direct: bool
    connect_timeout: float

    async def call(self, call: Call) -> Any:  # noqa: ANN401 - the operation's result type
        """The operation's result.

        Raises RouteFailure: no answer; RockException: the answer is an error.
        """
        async with self._exchange(call) as response:
            content = await response.read()
            try:
                return codec.decode(call.operation.result, content)
            except InvalidRequest as error:
                raise self._strange(response.status, content) from error

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[tuple[Mapping[str, str], AsyncIterator[bytes]]]:
        """The answer's headers, and its body in pieces as they come.

        Raises what `call` raises, also while the pieces are read.
        """
        async with self._exchange(call) as response:
            yield response.headers, response.content.iter_any()

    async def frames(self, call: Call) -> AsyncGenerator[tuple[FrameKind, bytes], None]:
        """The frames of an answer that comes in frames, without heartbeats; of what is followed the last is its END.

        Raises what `stream` raises; Lost also where it breaks off before its END.
        """
        decoder = FrameDecoder()
        async with self.stream(call) as (headers, pieces):
            if headers.get("Content-Type") != FRAMES_TYPE:  # an older one sends files that are followed as they are
                raise InternalError(f"{self.url} follows nothing as this client does; bring both to one version")
            async for piece in pieces:
                for kind, payload in decoder.feed(piece):
                    if kind is not FrameKind.HEARTBEAT:
                        yield kind, payload
                    if kind is FrameKind.END:
                        return
        if getattr(call.request, "follow", None):
            raise Lost(self, f"the connection to {self.url} was lost: what was followed broke off")

    @asynccontextmanager
    async def _exchange(self, call: Call) -> AsyncIterator[aiohttp.ClientResponse]:
        """A successful reply to one request; every other end of it is raised."""
        state = await _loops.of_running_loop()
        try:
            async with state.session.request(
                call.operation.method,
                URL(self._address(call), encoded=True),
                data=_payload(call),
                headers={**self.headers, **_content_headers(call), REQUEST_ID_HEADER: call.request_id},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.connect_timeout, sock_read=call.patience),
                proxy=None if self.is_direct else _config.find_proxy(self.url),
                ssl=_tls() if self.url.startswith("https:") else True,
                allow_redirects=False,
            ) as response:
                if response.status >= 300:
                    raise self._error(response.status, await response.read())
                yield response
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            message = f"{self.url} cannot be reached: {_why(error)}"
            raise NotSent(self, message, is_refused=_is_refusal(error)) from error
        except (aiohttp.ClientHttpProxyError, aiohttp.InvalidURL) as error:
            raise NotSent(self, f"{self.url} cannot be reached: {error}", is_refused=False) from error
        except (aiohttp.ClientError, asyncio.TimeoutError, ConnectionError) as error:
            raise Lost(self, f"the connection to {self.url} was lost: {_why(error)}") from error

    def _address(self, call: Call) -> str:
        path = call.operation.path if self.is_direct else call.operation.gateway_path
        address = self.url + path.replace("{sandbox_id}", quote(call.sandbox_id, safe=""))
        if call.operation.carries == "json" or not (pairs := codec.encode_query(call.request)):
            return address
        return f"{address}?{urlencode(pairs, quote_via=quote)}"

    def _error(self, status: int, content: bytes) -> Exception:
        try:
            body = msgspec.json.decode(content, type=ErrorBody)
        except msgspec.DecodeError:
            return self._strange(status, content)
        if self.is_direct and status == 401:
            return Stale(self, f"{self.url} does not know this sandbox's token")
        return from_body(body, status)

    def _strange(self, status: int, content: bytes) -> Exception:
        """What to make of an answer that is not on our wire."""
        if self.is_direct:
            return Stale(self, f"what answers at {self.url} is no rocklet")
        shown = content[:_SHOWN].decode("utf-8", "replace")
        message = f"{self.url} answered {status} and not as a gateway does: {shown!r}"
        if status in (502, 503, 504):  # a load balancer or proxy that has lost the gateway behind it
            return Lost(self, message)
        family: type[RockException] = BadRequestRockError if status < 500 else InternalError
        return family(f"{message}; check base_url")


class RouteFailure(Exception):
    """No answer that means anything came this way."""

    def __init__(self, route: Route, message: str) -> None:
        super().__init__(message)
        self.route = route


class NotSent(RouteFailure):
    """Nothing was sent: no connection was made."""

    def __init__(self, route: Route, message: str, *, is_refused: bool) -> None:
        super().__init__(route, message)
        self.is_refused = is_refused
        """Whether the host itself said no, so that it is there but nothing of ours is."""


class Lost(RouteFailure):
    """The connection was lost after sending: it may have run."""


class Stale(RouteFailure):
    """Somebody else answers at this address; nothing was run."""


def _payload(call: Call) -> bytes | AsyncIterator[bytes] | None:
    if call.body is not None:
        return call.body()
    return codec.encode(call.request) if call.operation.carries == "json" else None


def _content_headers(call: Call) -> dict[str, str]:
    if call.operation.carries == "json":
        return {"Content-Type": "application/json"}
    if call.body is not None:
        length = {} if call.body_size is None else {"Content-Length": str(call.body_size)}
        return {"Content-Type": "application/octet-stream", **length}
    return {}


@functools.cache
def _tls() -> ssl.SSLContext:
    """Verification as OpenSSL is told to by SSL_CERT_FILE and SSL_CERT_DIR; aiohttp's own would be made at import."""
    return ssl.create_default_context()


def _is_refusal(error: Exception) -> bool:
    return isinstance(getattr(error, "os_error", None), ConnectionRefusedError)  # a bad certificate has none


def _why(error: BaseException) -> str:
    return str(error) or type(error).__name__

"""Bodies: a request's, read with care (its type, its length and its end), and a reply's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from rock.wire.errors import InvalidRequest, TooLarge

__all__ = ["JsonResponse", "invalid_header", "read_chunks", "read_json_body"]

_JSON = "application/json"


class JsonResponse(web.Response):
    """A reply that lets go of its body once it is sent: a connection keeps its last response until it has another."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status=status, body=body, content_type=_JSON, headers=headers)

    async def write_eof(self, data: bytes = b"") -> None:
        """Send it."""
        await super().write_eof(data)
        self.body = None


async def read_json_body(request: web.BaseRequest, limit: int) -> bytes:
    """The body of a JSON request, of at most `limit` bytes.

    A body needs the JSON content type: a web page of a stranger cannot send that without being asked first.
    """
    if request.can_read_body and request.content_type != _JSON:
        raise invalid_header("Content-Type", request.headers.get("Content-Type", ""), _JSON)
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    if request.content.is_eof():  # it came with its headers, as most do
        return request.content.read_nowait()
    chunks, size = [], 0
    async for chunk in read_chunks(request):
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


async def read_chunks(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """The body, as it comes."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    try:
        async for chunk in request.content.iter_any():
            yield chunk
    except ConnectionError:
        raise
    except (HttpProcessingError, ClientPayloadError, web.RequestPayloadError) as error:
        raise InvalidRequest(
            f"the body is broken: {error}; send it again",
            details={"field": "$", "value": "", "expected": "a body as its headers say"},
        ) from error


def _too_large(limit: int) -> TooLarge:
    message = f"the body is larger than {limit} bytes; upload large files, or raise ROCKLET_BODY_BYTES"
    return TooLarge(message, details={"limit": limit})


def invalid_header(name: str, value: str, expected: str) -> InvalidRequest:
    """The error for a header that does not say what it must."""
    value = ascii(value[:80])
    return InvalidRequest(
        f"the header {name} is {value}; it must be {expected}",
        details={"field": name, "value": value, "expected": expected},
    )
